"""Middleware: context managers around every run of an app's jobs, and around every submit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from typing import Any

from zerog.exceptions import ConfigurationError
from zerog.support import jsonvalues
from zerog.support.callables import signature_error

Middleware = Callable[[Any], AbstractContextManager[object] | AbstractAsyncContextManager[object]]
"""Of runs: called with the job."""

SubmitMiddleware = Callable[[Any], AbstractContextManager[object]]
"""Of submits: called with the list of new job objects."""

OF_RUNS = "expected a function of the job that returns a context manager, such as one with @contextlib.contextmanager"
OF_SUBMITS = (
    "expected a function of a list of new jobs that returns a context manager, such as one with "
    "@contextlib.contextmanager"
)


def check_middleware(given: Any, present: Sequence[Any]) -> None:
    """Refuse a middleware that could not surround a run. Raises ConfigurationError."""
    _check(given, present, "the job", OF_RUNS)


def check_submit_middleware(given: Any, present: Sequence[Any]) -> None:
    """Refuse a middleware that could not surround a submit. Raises ConfigurationError."""
    written = inspect.unwrap(given) if callable(given) else given
    is_async = inspect.isasyncgenfunction(written) or inspect.iscoroutinefunction(written)
    if is_async or hasattr(given, "__aenter__"):
        raise ConfigurationError(
            f"the middleware {jsonvalues.short_repr(given)} is asynchronous, and a submit is not; {OF_SUBMITS}"
        )
    _check(given, present, "the list of new jobs", OF_SUBMITS)


def managers_of(middleware: Sequence[Callable[[Any], Any]], surrounded: Any) -> list[Any]:
    """Return the context managers that each middleware makes for a job, or for a list of new ones, outermost first.

    Raises TypeError for one that makes none, and what the middleware raises.
    """
    managers = []
    for make in middleware:
        manager = make(surrounded)
        if not hasattr(manager, "__aenter__") and not hasattr(manager, "__enter__"):
            raise TypeError(
                f"the middleware {make!r} returned {jsonvalues.short_repr(manager)}; expected a context manager"
            )
        managers.append(manager)
    return managers


@contextmanager
def within(managers: Sequence[AbstractContextManager[object]]) -> Iterator[None]:
    """Enter context managers, the first one outermost, for the time of a block.

    They see an error of the block and may raise another, but can't make a success of it.
    """
    raised: BaseException | None = None
    with ExitStack() as stack:
        try:
            for manager in managers:
                stack.enter_context(manager)
            yield
        except BaseException as error:
            raised = error
            raise
    if raised is not None:
        raise raised


def _check(given: Any, present: Sequence[Any], argument: str, expected: str) -> None:
    shown = f"the middleware {jsonvalues.short_repr(given)}"
    if not callable(given):
        raise ConfigurationError(f"{shown} can't be called; {expected}")
    if not isinstance(given, type) and (hasattr(given, "__enter__") or hasattr(given, "__aenter__")):
        raise ConfigurationError(f"{shown} is a context manager for one run or submit; {expected}")
    if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        missing = "asynccontextmanager" if inspect.isasyncgenfunction(given) else "contextmanager"
        raise ConfigurationError(f"{shown} is a bare generator; put @{missing} on it")
    if inspect.iscoroutinefunction(given):
        raise ConfigurationError(f"{shown} is a coroutine function; put @asynccontextmanager on one that yields")
    why = signature_error(given, None)
    if why:
        raise ConfigurationError(f"{shown} can't be called with {argument} alone ({why}); {expected}")
    if given in present:
        raise ConfigurationError(f"{shown} is there already; it would surround each one twice")
