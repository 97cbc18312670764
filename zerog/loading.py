"""Load an app from ``MODULE:APP`` on the command line."""

from __future__ import annotations

import importlib
import os
import sys

from zerog.app import App
from zerog.exceptions import ConfigurationError
from zerog.support.urls import without_secrets


def load_app(target: str) -> App:
    """Return the app that ``MODULE:NAME`` names; modules in the current folder are found.

    Raises ConfigurationError, with different messages for a module that isn't there and one that fails.
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
        raise
    app = getattr(module, name, None)
    if not isinstance(app, App):
        found = ", ".join(known for known, value in vars(module).items() if isinstance(value, App)) or "none"
        # Its type alone: what it holds may be a secret.
        kind = f"{name} is a {type(app).__name__}, not a zerog.App" if hasattr(module, name) else f"there is no {name}"
        raise ConfigurationError(f"in {module_name} {kind}; apps in that module: {found}")
    return app
