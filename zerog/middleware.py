"""Middleware: context managers around every run of an app's jobs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from zerog.exceptions import ConfigurationError
from zerog.support import jsonvalues
from zerog.support.callables import signature_error

EXPECTED = "expected a function of the job that returns a context manager, such as one with @contextlib.contextmanager"


def check_middleware(given: Any, present: Sequence[Any]) -> None:
    """Refuse a middleware that could not surround a run. Raises ConfigurationError."""
    if not callable(given):
        raise ConfigurationError(f"the middleware {jsonvalues.short_repr(given)} can't be called; {EXPECTED}")
    if not isinstance(given, type) and (hasattr(given, "__enter__") or hasattr(given, "__aenter__")):
        shown = jsonvalues.short_repr(given)
        raise ConfigurationError(f"the middleware {shown} is a context manager for one run; {EXPECTED}")
    if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        missing = "asynccontextmanager" if inspect.isasyncgenfunction(given) else "contextmanager"
        raise ConfigurationError(
            f"the middleware {jsonvalues.short_repr(given)} is a bare generator; put @{missing} on it"
        )
    if inspect.iscoroutinefunction(given):
        raise ConfigurationError(
            f"the middleware {jsonvalues.short_repr(given)} is a coroutine function; put @asynccontextmanager on one "
            "that yields"
        )
    why = signature_error(given, None)
    if why:
        raise ConfigurationError(
            f"the middleware {jsonvalues.short_repr(given)} can't be called with the job alone ({why}); {EXPECTED}"
        )
    if given in present:
        raise ConfigurationError(
            f"the middleware {jsonvalues.short_repr(given)} is there already; it would surround a run twice"
        )
