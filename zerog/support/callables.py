"""Check that a user's callable accepts the arguments it will get."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def signature_error(function: Callable[..., Any], *arguments: object) -> str | None:
    """Return why ``function`` can't be called with these arguments; None if it can, or its parameters are unknown."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:  # of some functions written in C
        return None
    return None


def takes_keyword(function: Callable[..., Any], name: str) -> bool:
    """True if ``function`` accepts a keyword argument ``name``, or its parameters are unknown."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some functions written in C
        return True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if name in parameters and parameters[name].kind in by_name:
        return True
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
