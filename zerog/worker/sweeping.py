"""A worker's thread that sweeps: it repairs what dead workers and lost entries left, and submits jobs of schedules."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from zerog.exceptions import ZerogError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.jobs.discarding import discarder
from zerog.maintenance.losses import bury, bury_if_gone
from zerog.maintenance.rates import keep_rates
from zerog.maintenance.reconcile import INTERVAL, Reconciler
from zerog.schemas.describe import described
from zerog.schemas.stored import StoredSchemas
from zerog.support.clock import Clock

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

LONGEST_PAUSE = 30.0
"""Seconds between two tries to take the jobs of a dead worker, at most."""


class SweepThread:
    """Sweeps until ``ends`` is set, after it has taken the jobs of workers whose processes are known to be gone.

    ``buried``: those that the supervisor knows of, and whether each was stopping. The others ran on this host.
    """

    def __init__(
        self,
        app: App,
        name: str,
        longest: float,
        buried: Sequence[tuple[str, bool]],
        ends: threading.Event,
        clock: Clock,
        repaired: Callable[[int], None],
    ) -> None:
        """``name``: the worker's. ``longest``: seconds between two sweeps, at most. ``repaired``: takes numbers of jobs
        that a sweep has repaired."""
        self._engine = app.engine
        self._publish = lambda: app.schedules.publish(name, app.build_id)
        self._record_schemas = lambda: _record_schemas(app)
        self._scheduling = app.schedules.leader()
        self._leads = False
        self._reconciler = Reconciler(
            app.engine, name, clock, min(INTERVAL, longest), app.registry.kept, discarder(app)
        )
        self._repaired = repaired
        self._buried = buried
        self._ends = ends
        self._clock = clock
        self._thread = threading.Thread(target=self._loop, name="zerog-reconcile", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """True while the thread runs, or if its end was requested."""
        return self._thread.is_alive() or self._ends.is_set()

    def release(self) -> None:
        """Let another worker sweep at once."""
        with suppress(ZerogError):
            self._reconciler.release()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout)

    def _loop(self) -> None:
        self._bury()
        is_published = self._succeeds(self._publish, "schedules can't be stored")
        is_recorded = self._succeeds(self._record_schemas, "schemas can't be stored")
        sweep_in = pause = 0.0
        while not self._clock.wait(self._ends, pause):
            sweep_in -= pause
            if sweep_in <= 0:
                sweep_in = self._reconciler.pause()
                self._succeeds(self._sweep, "could not reconcile")
                is_published = is_published or self._succeeds(self._publish, "schedules can't be stored")
                is_recorded = is_recorded or self._succeeds(self._record_schemas, "schemas can't be stored")
            pause = min(sweep_in, self._submit_due())

    def _sweep(self) -> None:
        report = self._reconciler.turn()
        self._leads = report is not None
        if report is not None:
            self._repaired(report.repairs)
            keep_rates(self._engine)

    def _submit_due(self) -> float:
        """Submit the jobs of due ticks if this worker leads; return the seconds until a tick is due, or infinity."""
        due_in = [math.inf]
        if self._leads:
            self._succeeds(lambda: due_in.append(self._scheduling.turn()), "schedules are not looked at")
        return max(min(due_in), 0.0)

    def _succeeds(self, call: Callable[[], object], failure: str) -> bool:
        """Call it, and return True unless it failed; that is logged, and it is tried again with the next sweep."""
        try:
            call()
            return True
        except ZerogError as error:
            log.warning("%s, trying again: %s", failure, error)
        except Exception:
            log.exception("%s; trying again with the next sweep", failure)
        return False

    def _bury(self) -> None:
        """Take the jobs of the workers in whose place this one was started, and of others that are gone."""
        left, pause = dict(self._buried), 0.1
        while not self._ends.is_set():
            try:
                while left:
                    name, was_stopping = next(iter(left.items()))
                    bury(self._engine, name, was_stopping)
                    del left[name]
                for name in WorkerRecords(self._engine).directory():
                    bury_if_gone(self._engine, name)
                return
            except ZerogError as error:
                log.warning("the jobs of dead workers (%s) can't be taken yet: %s", ", ".join(left) or "any", error)
            self._clock.wait(self._ends, pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _record_schemas(app: App) -> None:
    """Store the schemas of an app's types where other processes can read them, and warn of those that clash."""
    if app.datastore.shared:
        classes = app.registry.client_classes()
        for clash in StoredSchemas(app.engine).record(map(described, classes), app.build_id):
            log.warning("%s. Raise SCHEMA_VERSION and add a migration.", clash)
