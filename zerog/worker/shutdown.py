"""Shut down: the request to end, its urgency, each job's ON_SHUTDOWN, and the release of what is still running."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from zerog.engine.engine import Engine
from zerog.exceptions import ZerogError
from zerog.support.clock import Clock
from zerog.worker.executors.slots import Executor
from zerog.worker.fetcher import Fetcher
from zerog.worker.health import HealthReporter
from zerog.worker.lease import Lease
from zerog.worker.signal_thread import SignalThread


class StopRequest:
    """The request to end: by ``stop``, a supervisor, signals, or a worker that has reached its limits."""

    def __init__(self) -> None:
        self.event = threading.Event()
        """Set once the end is requested."""
        self._asked = self._signals = self._hurried = 0

    @property
    def urgency(self) -> int:
        """The number of requests to end: from the second one on running jobs are not waited for.

        A signal that reached both this process and its supervisor, which forwards it, counts once.
        """
        return max(self._asked, self._signals) + self._hurried

    def ask(self, times: int = 1) -> None:
        """Request the end, for the ``times``-th time; harmless when repeated."""
        self._asked = max(self._asked, times)
        self.event.set()

    def hurry(self) -> None:
        """Request the end once more."""
        self._hurried += 1
        self.event.set()

    def on_signals(self, numbers: Sequence[int]) -> AbstractContextManager[object]:
        """Request the end at each of these signals, if this is the main thread, which alone may handle signals."""
        if threading.current_thread() is threading.main_thread():
            return SignalThread(numbers, self._on_signal)
        return nullcontext()

    def _on_signal(self, _number: int) -> None:
        self._signals += 1
        self.event.set()


log = logging.getLogger("zerog")


class Shutdown:
    """The end of the worker ``name``, whose jobs get ``grace`` seconds; another ``stop_request`` hurries it."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        grace: float,
        store: Fetcher,
        slots: Executor,
        lease: Lease,
        reporter: HealthReporter,
        stop_request: StopRequest,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._name = name
        self._grace = grace
        self._fetcher = store
        self._executor = slots
        self._lease = lease
        self._reporter = reporter
        self._stop_request = stop_request
        self._clock = clock

    def part(self) -> list[bool]:
        """Stop, wait, release the rest. Returns for each release whether the document still named this run."""
        asked = min(self._stop_request.urgency, 1)
        self._stop_request.event.set()
        self._reporter.stopping("shutting down")
        self._fetcher.stop_claiming()
        self._executor.stop()
        if self._fetcher.in_flight():
            log.info("worker %s is shutting down; its jobs have %.0f s to stop", self._name, self._grace)
            self._lease.hurry()  # so that its record shows it
        # In a separate thread, because the datastore may be unavailable.
        stopping = (self._executor.running(), self._name)
        threading.Thread(target=self._executor.cancel_stopped, args=stopping, name="zerog-stop", daemon=True).start()
        return self._wait_for_jobs(asked)

    def _wait_for_jobs(self, asked: int) -> list[bool]:
        """Wait for the running jobs as their ON_SHUTDOWN requires, and release the rest; see ``_release_rest``."""
        deadline = self._clock.monotonic() + self._grace
        never = threading.Event()
        released: list[bool] = []
        is_over = False
        while self._fetcher.in_flight() and self._fetcher.failure is None and self._stop_request.urgency <= asked:
            if not is_over and self._clock.monotonic() > deadline:
                is_over = True
                released += self._release_rest(but_finishing=True)
            if is_over:
                if not self._executor.finishing():
                    break
                self._reporter.extend(f"waiting for {len(self._executor.finishing())} jobs to finish")
            self._lease.check()
            self._executor.enforce()
            self._clock.wait(never, 0.02)
        return released + (self._release_rest() if self._fetcher.in_flight() else [])

    def _release_rest(self, but_finishing: bool = False) -> list[bool]:
        """Release what still runs after the grace. Returns for each release whether the document still named this run.

        A job for which the datastore failed is left out.
        """
        left = self._executor.abandon("the worker is shutting down and the job did not stop in time", but_finishing)
        if left:
            log.warning("worker %s stops %d jobs that did not end in time", self._name, len(left))
        why = f"released by worker {self._name} at its shutdown"
        released = []
        for claim in reversed(left):  # each is put ahead of all that wait, so the last one first
            try:
                released.append(self._engine.release(claim.uuid, claim.run, why))
            except ZerogError as error:
                log.warning("job %s could not be released, its lease decides: %s", claim.uuid, error)
        return released
