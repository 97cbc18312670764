"""Whether a function that somebody hands over can be called as it will be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def misfit(function: Callable[..., Any], *arguments: object) -> str | None:
    """Why ``function`` can't be called with these arguments; None if it can, or doesn't tell its parameters."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:  # some that are written in C
        return None
    return None
