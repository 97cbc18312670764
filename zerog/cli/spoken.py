"""What every command does with errors: one line for a person, an exit code for a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import click
from marshmallow import ValidationError

import zerog

F = TypeVar("F", bound=Callable[..., Any])


def spoken(command: F) -> F:
    """Turn errors that a user can cause into one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ValidationError as error:
            lines = [f"  {name}: {json.dumps(what)}" for name, what in _by_field(error).items()]
            fail("the parameters are wrong; nothing was stored\n" + "\n".join(lines), 2)
        except (zerog.ConfigurationError, zerog.UnknownJobType, zerog.InvalidUuid, zerog.InvalidValue) as error:
            fail(str(error), 2)
        except zerog.ZerogError as error:
            fail(str(error), 1)

    return run  # type: ignore[return-value]


def fail(message: str, code: int) -> NoReturn:
    """Say why on standard error and exit."""
    click.echo(f"zerog: {message}", err=True)
    sys.exit(code)


def _by_field(error: ValidationError) -> dict[str, Any]:
    return dict(error.messages) if isinstance(error.messages, dict) else {"parameters": error.messages}
