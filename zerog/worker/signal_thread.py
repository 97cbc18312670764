"""Receive this process's signals in a thread: their handlers only set a flag and write to a pipe.

A handler runs between any two instructions of the main thread, which may hold the lock that the handler would take.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOPS = (signal.SIGTERM, signal.SIGHUP)
"""Signals with which operators and platforms stop processes, possibly all processes of a worker at once."""

_END = 0
"""Ends the thread; no signal has this number."""


class SignalThread:
    """Calls ``receive`` in a thread with the number of each of these signals. Use as ``with``, in the main thread.

    SIGHUP stays ignored if it is, as ``nohup`` requires. At the end of the block the handlers are restored, except
    that one of STOPS that arrived is ignored from then on: a further one would make a clean end look like a death.
    """

    def __init__(self, numbers: Sequence[int], receive: Callable[[int], object]) -> None:
        self.numbers = [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        self._receive = receive
        self._came = dict.fromkeys(self.numbers, False)
        self._before: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._pass_on, name="zerog-signals", daemon=True)

    def __enter__(self) -> SignalThread:
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._thread.start()
        self._before = {number: signal.signal(number, self._on_signal) for number in self.numbers}
        _ACTIVE.add(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        _ACTIVE.discard(self)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if number in STOPS and self._came[number] else handler)
        os.set_blocking(self._wake, True)
        os.write(self._wake, bytes([_END]))  # not closed: a process that a job forked may hold the pipe open
        self._thread.join()
        os.close(self._wake)
        os.close(self._woken)

    def restore(self) -> None:
        """Restore the handlers, in a process that was forked inside the block."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._came[number] = True
        with suppress(BlockingIOError):  # thousands wait to be received
            os.write(self._wake, bytes([number]))

    def _pass_on(self) -> None:
        while True:
            for number in os.read(self._woken, 4096):
                if number == _END:
                    return
                self._receive(number)


_ACTIVE: weakref.WeakSet[SignalThread] = weakref.WeakSet()


_forking = threading.local()
"""Signal mask of a thread before it began to fork."""


def _before_fork() -> None:
    """Block the signals: Python drops those that reach a new process before its handlers are restored."""
    numbers = {number for active in list(_ACTIVE) for number in active.numbers}
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _after_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_in_child() -> None:
    for active in list(_ACTIVE):
        active.restore()
    _ACTIVE.clear()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
