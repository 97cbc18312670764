"""Load an app from ``MODULE:APP`` on the command line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from zerog.app import App
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.support.urls import without_secrets

_FOREIGN = ("<frozen importlib", importlib.__file__, os.path.dirname(os.path.abspath(__file__)) + os.sep)
"""Beginnings of the names of files whose frames say nothing about a mistake in an application."""


class ImportFailed(ZerogError):
    """The module of an app raised while it was imported; a note has its traceback."""


def load_app(target: str) -> App:
    """Return the app that ``MODULE:NAME`` names; modules in the current folder are found.

    Raises ConfigurationError, and ImportFailed for a module that is there and raises.
    """
    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise ConfigurationError(f"{without_secrets(target)} names no app; expected MODULE:APP, for example myapp:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"there is no module {module_name} in {os.getcwd()} or on the path") from None
        raise _failed(module_name, error) from error
    except ZerogError:  # such as a wrong URL: its message is enough
        raise
    except Exception as error:
        raise _failed(module_name, error) from error
    app = getattr(module, name, None)
    if not isinstance(app, App):
        found = ", ".join(known for known, value in vars(module).items() if isinstance(value, App)) or "none"
        # Its type alone: what it holds may be a secret.
        kind = f"{name} is a {type(app).__name__}, not a zerog.App" if hasattr(module, name) else f"there is no {name}"
        raise ConfigurationError(f"in {module_name} {kind}; apps in that module: {found}")
    return app


def _failed(module_name: str, error: Exception) -> ImportFailed:
    """Return the error for a module that raised, with the frames of the application and its libraries alone."""
    level: traceback.TracebackException | None = traceback.TracebackException.from_exception(error)
    text = level
    while level is not None:
        frames = [frame for frame in level.stack if not frame.filename.startswith(_FOREIGN)]
        level.stack = traceback.StackSummary.from_list(frames)
        level = level.__cause__ or level.__context__
    assert text is not None
    failed = ImportFailed(f"{module_name} can't be imported: {type(error).__name__}: {error}")
    failed.add_note("".join(text.format()).rstrip())
    return failed
