"""A worker beside other code of the same process: in a thread, for as long as a block lasts.

A fatal error of the worker is raised where the block ends, whatever the block did. Who waits in an ``async with`` block
is cancelled at once when the worker fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from zerog.worker.ending import Ending
from zerog.worker.session import WorkerStats

if TYPE_CHECKING:
    import asyncio  # where it is needed it has been imported: it takes a third of the package's import time


class Background:
    """Calls ``work`` in a thread; ``ending`` ends it."""

    def __init__(self, work: Callable[[], WorkerStats], ending: Ending) -> None:
        self._work = work
        self._ending = ending
        self._future: Future[WorkerStats] = Future()
        self._block: asyncio.Task[object] | None = None
        self._is_interrupted = False
        threading.Thread(target=self._run, name="zerog-worker", daemon=True).start()

    def end(self) -> None:
        """Have the worker end and wait for that. Raises what was fatal to it; Ctrl-C hurries it."""
        self._ending.ask()
        try:
            self._future.exception()
        except KeyboardInterrupt:
            self._ending.hurry()
            self._future.exception()
            raise
        self._future.result()

    def interrupt(self) -> None:
        """Cancel the present task of the running event loop as soon as the worker fails."""
        import asyncio

        self._block = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def tell(future: Future[WorkerStats]) -> None:
            if future.exception() is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._interrupt)

        self._future.add_done_callback(tell)

    async def end_async(self) -> None:
        """``end`` for the event loop that ``interrupt`` was called in; a cancellation hurries the worker."""
        import asyncio

        self._ending.ask()
        ended = asyncio.wrap_future(self._future)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError as error:
                if not self._is_interrupted:
                    self._ending.hurry()
                    cancelled = error
        block, self._block = self._block, None
        if self._is_interrupted and block is not None:
            block.uncancel()
        ended.result()
        if cancelled is not None:
            raise cancelled

    def _run(self) -> None:
        try:
            stats = self._work()
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(stats)

    def _interrupt(self) -> None:
        if self._block is not None:
            self._is_interrupted = True
            self._block.cancel()
