"""Resources that jobs share within one process: connections, clients, models.

Opened when first used, closed at the end.
"""

from __future__ import annotations

import atexit
import inspect
import keyword
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zerog.exceptions import ConfigurationError
from zerog.support import jsonvalues
from zerog.support.callables import signature_error
from zerog.support.suggestions import close_to

log = logging.getLogger("zerog")

_ALL: weakref.WeakSet[Resources] = weakref.WeakSet()


class Resources:
    """Named factories, and what they have made in this process, each an attribute: ``resources.db``.

    An attribute that isn't open yet is opened; whatever its factory raises is raised, with a note that names the
    resource, and the next use tries again. An unknown name is an AttributeError.
    """

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], Any]] = {}
        self._inherited: list[object] = []
        self._users = 0
        self._fresh()
        _ALL.add(self)

    def _fresh(self) -> None:
        self._lock = threading.RLock()
        self._opened: dict[str, Any] = {}
        self._closers: list[tuple[str, Callable[[], object]]] = []
        self._opening: list[str] = []

    def add(self, name: str, factory: Callable[[], Any]) -> None:
        """Declare a resource. Raises ConfigurationError."""
        _check(name, factory)
        if name in self._factories:
            raise ConfigurationError(f"the resource {name!r} is declared already; nothing was changed")
        self._factories[name] = factory

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._opened[name]
        except KeyError:
            return self._open(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._factories]

    def __bool__(self) -> bool:
        """Return True if any are declared."""
        return bool(self._factories)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep what is opened open within the block; the last block to end closes it."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                is_last = not self._users
            if is_last:
                self.close()

    def close(self) -> None:
        """Close what is open, in the reverse order of opening. A failure is logged; the rest is closed all the same.

        A later use opens it again.
        """
        with self._lock:
            closers = self._closers
            self._opened, self._closers = {}, []
            for name, closer in reversed(closers):
                try:
                    closer()
                except Exception:
                    log.exception("the resource %r could not be closed", name)

    def _open(self, name: str) -> Any:
        factory = self._factories.get(name)
        if factory is None:
            raise AttributeError(self._unknown(name))
        with self._lock:  # one at a time: a factory may use other resources
            if name in self._opened:
                return self._opened[name]
            if name in self._opening:
                raise ConfigurationError(f"the resource {name!r} needs itself: {' -> '.join([*self._opening, name])}")
            self._opening.append(name)
            try:
                value, closer = _made(factory)
            except BaseException as error:
                note = f"while opening the resource {name!r}"
                if note not in getattr(error, "__notes__", ()):  # a factory may raise the same object each time
                    error.add_note(note)
                raise
            finally:
                self._opening.pop()
            self._opened[name] = value
            self._closers.append((name, closer))
            return value

    def _unknown(self, name: str) -> str:
        close = close_to(name, self._factories)
        hint = f"; did you mean {close!r}?" if close else "."
        known = ", ".join(sorted(self._factories)) or "none"
        return f"there is no resource {name!r}{hint} Declared with app.resource(name, factory): {known}."

    def _forget(self) -> None:
        """Forget what is open, in a process that was forked: everything is opened anew.

        The parent's objects are kept, so that garbage collection doesn't close them, and never used.
        """
        self._inherited.append((self._opened, self._closers))
        self._users = 0
        self._fresh()


def replaced(resources: Resources, others: Mapping[str, Callable[[], Any]]) -> Resources:
    """Return the same declarations with nothing open; those in ``others`` replace those with their names.

    Raises ConfigurationError for a name that isn't declared.
    """
    factories = resources._factories
    missing = [name for name in others if name not in factories]
    if missing:
        raise ConfigurationError(f"{resources._unknown(missing[0])} Nothing can take its place.")
    made = Resources()
    for name, factory in {**factories, **others}.items():
        made.add(name, factory)
    return made


@atexit.register
def _close_all() -> None:
    for resources in list(_ALL):
        resources.close()


def _after_fork() -> None:
    for resources in list(_ALL):
        resources._forget()


os.register_at_fork(after_in_child=_after_fork)


def _check(name: object, factory: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigurationError(
            f"the resource {jsonvalues.short_repr(name)}; expected a name that jobs can write after self.resources, "
            "without a leading underscore"
        )
    if hasattr(Resources, name):
        raise ConfigurationError(f"the resource {name!r} has the name of a method of app.resources; choose another")
    expected = "expected a function without parameters that returns the object, or one that yields it once"
    if not callable(factory):
        raise ConfigurationError(
            f"the factory of the resource {name!r} is {jsonvalues.short_repr(factory)}; {expected}"
        )
    plain = inspect.unwrap(factory)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise ConfigurationError(
            f"the factory of the resource {name!r} is asynchronous, and a resource belongs to no event loop; "
            f"{expected}. "
            "What belongs to a loop is opened in an async before_run"
        )
    why = signature_error(factory)
    if why:
        raise ConfigurationError(f"the factory of the resource {name!r}: {why}; {expected}")


def _made(factory: Callable[[], Any]) -> tuple[Any, Callable[[], object]]:
    """Return the object that a factory makes, and what closes it: its generator, or the object's ``close()``."""
    made = factory()
    if inspect.isgeneratorfunction(inspect.unwrap(factory)):
        manager = contextmanager(lambda: made)() if inspect.isgenerator(made) else made
        return manager.__enter__(), lambda: manager.__exit__(None, None, None)
    closer = getattr(made, "close", None)
    if inspect.iscoroutinefunction(closer):
        raise ConfigurationError(
            f"the close() of {jsonvalues.short_repr(made)} is asynchronous, and resources are closed outside any event "
            "loop; give a factory that yields the object and closes it"
        )
    return made, closer if callable(closer) else lambda: None
