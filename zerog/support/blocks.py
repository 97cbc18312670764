"""Context managers whose cleanup can't be skipped by an exception from outside.

A signal handler that raises, Ctrl-C and ``PyThreadState_SetAsyncExc`` raise between any two instructions, also at the
first one of a manager's ``__exit__``, and a resource that it should release stays held as long as the traceback lives.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from functools import partial, wraps
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


def block(function: Callable[P, Generator[T]]) -> Callable[P, Block[T]]:
    """Make a context manager of a generator function, as ``contextlib.contextmanager`` does.

    The generator has to release by ``with`` on objects implemented in C (locks, SQLite connections), or by a call of a
    function implemented in C that is the only statement of a ``finally``: these can't be interrupted.
    """

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Block[T]:
        return Block(function(*args, **kwargs))

    return made


class Block(Generic[T]):
    """A context manager around a generator. If leaving it is interrupted, the generator is closed at once."""

    def __init__(self, generator: Generator[T]) -> None:
        self._generator = generator

    def __enter__(self) -> T:
        try:
            return next(self._generator)
        except BaseException:
            self._generator.close()
            raise

    @property
    def __exit__(self) -> _Leave:
        return _Leave(self._generator)


class _Leave(partial[None]):
    """Calls ``_leave`` with a weak reference, from C.

    During the block the interpreter's stack has the only reference to this object, and this object the only one to the
    generator. So an exception that keeps ``_leave`` from starting frees both, which closes the generator.
    """

    generator: Generator[object]

    def __new__(cls, generator: Generator[object]) -> _Leave:
        self = super().__new__(cls, _leave, weakref.ref(generator))
        self.generator = generator
        return self


def _leave(
    reference: weakref.ref[Generator[object]],
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    generator = reference()
    assert generator is not None
    try:
        if error is None:
            next(generator, None)
        else:
            generator.throw(error)
    except BaseException as raised:
        if raised is not error:
            raise
    finally:
        generator.close()
