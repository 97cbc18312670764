"""One worker's lease: a record whose beat moves every third of the lease, whatever number of jobs it covers.

Other workers take the jobs of a worker whose beat stood still for a whole lease. A worker that could not renew for two
thirds of it stops its own runs, so that they have ended before another worker starts them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ZerogError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.operations import Document
from zerog.support.clock import Clock

log = logging.getLogger("zerog")


class Lease:
    """Renews in a separate thread; ``lost`` is called, once per loss, when it could not for too long.

    ``lost`` gets the reason, and True if that is the datastore's outage rather than this process, which stood still.
    ``details`` returns what each renewal writes beside the beat, ``first`` what only a new record gets.
    """

    def __init__(
        self,
        records: WorkerRecords,
        worker: WorkerIdentity,
        details: Callable[[], Document],
        lost: Callable[[str, bool], None],
        clock: Clock,
        first: Callable[[], Document] = dict,
    ) -> None:
        self._records = records
        self._worker = worker
        self._details = details
        self._first = first
        self._lost = lost
        self._clock = clock
        self._beat = 0
        self._renewed = clock.monotonic()
        self._patience = worker.lease * 2 / 3
        self._tried_since: float | None = None
        """Time of the first failed try of the renewal that is due."""
        self._changing = threading.Lock()
        self._stopped = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="zerog-lease", daemon=True)
        self.held = True
        """True if jobs may be claimed: False from a loss until the next successful renewal."""
        self.held_since = self.turned = clock.monotonic()
        """Times at which it was last regained, and of the thread's last turn, whether it could renew or not."""

    def start(self) -> None:
        """Renew once, raising what the datastore raises, then in the background."""
        self._renew()
        self.held_since = self.turned = self._clock.monotonic()  # the datastore may have been unavailable for long
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing."""
        self._stopped = True
        self._woken.set()
        self._thread.join(5.0)

    @property
    def is_alive(self) -> bool:
        """True while its thread runs."""
        return self._thread.is_alive()

    def hurry(self) -> None:
        """Renew now: there is something in the details that other processes should see soon."""
        self._woken.set()

    def check(self) -> None:
        """Declare the lease lost if it wasn't renewed for two thirds of its time.

        To be called by another thread, too: the one that renews may be waiting for the datastore.
        """
        with self._changing:
            silent = self._clock.monotonic() - self._renewed
            if not self.held or silent <= self._patience:
                return
            self.held = False
            since = self._tried_since
            is_outage = since is not None and since - self._renewed < self._patience
        self._lost(f"worker {self._worker.name} could not renew its lease for {silent:.1f} s", is_outage)

    def _renew(self) -> None:
        before = self._clock.monotonic()
        if self._tried_since is None:
            self._tried_since = before
        self._beat = self._records.renew(self._worker, self._beat + 1, self._details, self._first)
        with self._changing:
            # Other workers count from when they see the beat, but it may have been stored as early as this.
            self._renewed = before
            self._tried_since = None
            if not self.held and self._clock.monotonic() - before <= self._patience:
                self.held, self.held_since = True, self._clock.monotonic()

    def _loop(self) -> None:
        pause = self._worker.lease / 3
        while True:
            self._clock.wait(self._woken, pause)
            if self._stopped:
                return
            self._woken.clear()  # before the details are taken: a later change wakes it again
            self.turned = self._clock.monotonic()
            self.check()
            try:
                self._renew()
                self.check()
                pause = self._worker.lease / 3
            except Exception as error:  # a driver's or the system's, too: no other thread renews
                if pause == self._worker.lease / 3:
                    unknown = None if isinstance(error, ZerogError) else error
                    text = "worker %s could not renew its lease, trying on: %s"
                    log.warning(text, self._worker.name, error, exc_info=unknown)
                pause = min(1.0, self._worker.lease / 10)
                self.check()
