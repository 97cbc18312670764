"""Error handling of all commands: one line for a person, an exit code for a shell."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import textwrap
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

import zerog
from zerog.support.texts import INDENT, clean, flat, indented

if TYPE_CHECKING:
    from marshmallow import ValidationError

FAILED, WRONG, UNFINISHED, INTERRUPTED, CLOSED = 1, 2, 4, 130, 141
BREAKS, UNBUILDABLE = 3, 4

EXIT_CODES = {
    0: "done",
    FAILED: "failed, could not be done, needs attention, or no such job",
    WRONG: "wrongly called or configured",
    BREAKS: "worker: its processes died again and again; schema check: breaks",
    UNFINISHED: "submit --wait: timed out; schema check: an app can't be built",
    INTERRUPTED: "Ctrl-C",
    CLOSED: "the reader of the output was closed",
}
"""Meanings of the exit codes."""

F = TypeVar("F", bound=Callable[..., Any])

_KEPT = "\0"
"""Stands for a space where a line isn't wrapped."""


def spoken(command: F) -> F:
    """Turn errors that a user can cause into one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (zerog.ConfigurationError, zerog.UnknownJobType, zerog.InvalidUuid, zerog.InvalidValue) as error:
            fail(flat(error), WRONG)
        except zerog.ZerogError as error:
            notes = (INDENT + indented(note) for note in getattr(error, "__notes__", ()))
            fail("\n".join([flat(error), *notes]), FAILED)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            if not _output_is_closed():
                raise
            # What is still buffered would raise once more at the interpreter's end
            # (https://docs.python.org/3/library/signal.html#note-on-sigpipe).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(CLOSED)
        except Exception as error:
            from marshmallow import ValidationError  # half of the start-up time, and few commands meet it

            if not isinstance(error, ValidationError):
                raise
            lines = [f"  {flat(name)}: {flat(_as_text(what))}" for name, what in _by_field(error).items()]
            fail("the parameters are wrong; nothing was stored\n" + "\n".join(lines), WRONG)

    return run  # type: ignore[return-value]


def fail(message: str, code: int) -> NoReturn:
    """Print the reason on standard error, on a terminal wrapped at words, and exit."""
    text = f"zerog: {clean(message)}"
    if sys.stderr.isatty():
        text = "\n".join(map(_wrapped, text.split("\n")))
    click.echo(text, err=True)
    sys.exit(code)


def _wrapped(line: str) -> str:
    """Return a line as lines of the terminal's width; a command that ends it is not broken, since it is copied."""
    before, colon, command = line.partition(": pip install ")
    whole = before + (colon + command).replace(" ", _KEPT)
    width = shutil.get_terminal_size().columns
    below = " " * (len(line) - len(line.lstrip(" ")) + 2)
    wrapped = textwrap.wrap(whole, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapped).replace(_KEPT, " ")


def _output_is_closed() -> bool:
    """Return True if it is the output, and not a connection to a server, that broke."""
    output = select.poll()
    try:
        output.register(sys.stdout.fileno(), 0)
    except OSError:  # no file at all
        return False
    return bool(output.poll(0))


def _as_text(messages: Any) -> str:
    """Return the messages about one field as text: sentences as they are, deeper ones as JSON."""
    if isinstance(messages, list) and all(isinstance(message, str) for message in messages):
        return " ".join(messages)
    return json.dumps(messages)


def _by_field(error: ValidationError) -> dict[str, Any]:
    return dict(error.messages) if isinstance(error.messages, dict) else {"parameters": error.messages}
