"""Coroutines that can be interrupted where they await.

Cancelling a task raises CancelledError in it. A coroutine that is driven from here gets the interruption instead:
``SoftTimeout``, ``Cancelled`` or ``Paused``, each of which is a CancelledError, too, so that task groups, timeouts and
libraries clean up behind it as behind any cancellation.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from zerog import exceptions
from zerog.engine.run import Run
from zerog.exceptions import ClaimLost

SOONEST = 0.001
"""Seconds until the next check of a limit that the loop's clock has reached and the run's has not."""

Thunk = Callable[[], Any]


class SoftTimeout(exceptions.SoftTimeout, asyncio.CancelledError):
    """``SoftTimeout`` as a coroutine sees it."""


class Cancelled(exceptions.Cancelled, asyncio.CancelledError):
    """``Cancelled`` as a coroutine sees it."""


class Paused(exceptions.Paused, asyncio.CancelledError):
    """``Paused`` as a coroutine sees it."""


_KINDS: tuple[type[BaseException], ...] = (SoftTimeout, Cancelled, Paused)


def run_alone(coroutine: Coroutine[Any, Any, Any], run: Run) -> Any:
    """Run a coroutine on a new event loop in this thread."""
    return asyncio.run(ended(coroutine, run))()


async def ended(coroutine: Coroutine[Any, Any, Any], run: Run) -> Thunk:
    """Await what ``run()`` returned; the result is a function that returns its value, or raises what it raised."""
    interrupter = _Interrupter(run)
    run.waker = interrupter.wake
    try:
        value = await _driven(coroutine, interrupter)
    except exceptions.RunInterrupted as error:
        return _raising(error)
    except asyncio.CancelledError as error:
        # The job's own doing, unless this worker took the run away from it.
        return _raising(ClaimLost("the worker took the run away") if run.is_revoked else error)
    except BaseException as error:
        return _raising(error)
    finally:
        run.waker = None
        interrupter.close()
    return lambda: value


def _raising(error: BaseException) -> Thunk:
    def throw() -> Any:
        raise error

    return throw


class _Interrupter:
    """Interrupts one coroutine by cancelling its task, and replaces the cancellation by the reason for it."""

    def __init__(self, run: Run) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._run = run
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch_limit()
        self._deliver_what_waits()

    def wake(self) -> None:
        """Have the loop deliver an interruption that is due. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            pass  # the loop has ended, and the coroutine with it

    def taken(self, cancelled: asyncio.CancelledError) -> BaseException:
        """Return the exception that a cancellation of the task stands for."""
        error, self._error = self._error, None
        if error is None:
            return cancelled
        self._task.uncancel()  # or timeouts and task groups of the clean-up would mistake it for theirs
        self._deliver_what_waits()
        return error

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _deliver_what_waits(self) -> None:
        """Deliver what became due before ``wake`` was set, or while another interruption was being delivered."""
        if self._run.is_due:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        if self._error is not None or self._task.done():
            return
        interruption = self._run.interruption()
        if interruption is not None:
            [kind] = [each for each in _KINDS if issubclass(each, type(interruption))]
            self._error = kind(*interruption.args)
            self._task.cancel()

    def _watch_limit(self) -> None:
        left = self._run.seconds_left()
        if left is not None:
            self._timer = self._loop.call_later(max(left, SOONEST), self._look_at_limit)

    def _look_at_limit(self) -> None:
        self._deliver()
        self._watch_limit()


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, Any], interrupter: _Interrupter) -> Generator[Any, Any, Any]:
    """Await ``coroutine``, with the interruptions of ``interrupter`` raised in it in place of CancelledError."""
    step: Callable[[], Any] = partial(coroutine.send, None)
    while True:
        try:
            awaited = step()
        except StopIteration as end:
            return end.value
        try:
            answer = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except asyncio.CancelledError as cancelled:
            step = partial(coroutine.throw, interrupter.taken(cancelled))
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, answer)
