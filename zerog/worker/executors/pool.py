"""A pool of threads that don't keep the process alive: what hangs in one is left behind when the worker ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_Call = tuple[Future[Any], Callable[[], Any]]


class DaemonThreadPool(ThreadPoolExecutor):
    """At most ``most`` threads, each started when a call finds all running ones busy.

    A ThreadPoolExecutor in name only, because an event loop accepts nothing else; the process would wait at its end
    for that one's own threads.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(1)
        self._most = most
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._started = 0
        self._open = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn`` in a thread; the future has what it returns or raises, whatever that is."""
        future: Future[Any] = Future()
        with self._counting:
            self._open += 1
            start = self._started < min(self._open, self._most)
            self._started += start
            name = f"{self._name}-{self._started}"
        if start:
            try:
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            except RuntimeError:  # the system allows no more; another thread, if there is one, takes the call
                with self._counting:
                    self._started -= 1
                    if not self._started:
                        self._open -= 1
                        raise
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads once they have nothing to do; waits for none of them."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while (taken := self._calls.get()) is not None:
            self._call(*taken)
            del taken  # what a call returned must not live until the next call

    def _call(self, future: Future[Any], call: Callable[[], Any]) -> None:
        outcome: Any = None
        error: BaseException | None = None
        may_run = future.set_running_or_notify_cancel()
        try:
            outcome = call() if may_run else None
        except BaseException as raised:
            error = raised
        with self._counting:
            self._open -= 1
        if not may_run:
            return
        if error is None:
            future.set_result(outcome)
        else:
            future.set_exception(error)
