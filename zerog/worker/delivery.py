"""Run one queue delivery to completion, for a worker of another system (RQ) that calls ZeroG for each."""

from __future__ import annotations

import logging
import os
import queue
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zerog.contracts.queue import Reservation
from zerog.engine import joblog
from zerog.engine.engine import Unsuitable, new_nonce
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import ZerogError
from zerog.fleet.fleet import SINGLE
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.commands import RUNNING
from zerog.records.job import Document
from zerog.support.clock import to_text
from zerog.worker.control import HELD, CommandPoller
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.lease import Lease
from zerog.worker.outcome import Outcome
from zerog.worker.runs import Tally
from zerog.worker.settling import LONGEST_PAUSE, end_of, settle_once

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")


def run_delivery(
    app: App, reservation: Reservation, queue_name: str, lease: float, stopping: Callable[[], bool]
) -> None:
    """Claim the job that a queue has delivered, run it in a thread, settle it; returns once that is done.

    A delivery that is not for now is dropped or released as any worker does. ``lease``: seconds without a heartbeat
    after which other workers take the job; a thread renews it meanwhile, under a worker name made for this one
    delivery. ``stopping``: returns True while the calling worker is shutting down, for the job.

    Raises what the datastore raises before the job is claimed. An exception that reaches the calling thread while the
    job runs (from a signal, for example) releases the job, uncounted, and is raised again.
    """
    worker = WorkerIdentity(f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}", lease, app.build_id)
    single = _Single(app, worker, queue_name, stopping, reservation.uuid)
    single.keeper.start()
    try:
        single.run(reservation)
    finally:
        single.close()


class _Single:
    def __init__(
        self, app: App, worker: WorkerIdentity, queue_name: str, stopping: Callable[[], bool], uuid: str
    ) -> None:
        self._app = app
        self._worker = worker
        self._stopping = stopping
        self._ended: queue.SimpleQueue[tuple[Outcome | None, float]] = queue.SimpleQueue()
        self._executor = ThreadExecutor(app, 1, worker.lease, self._take_end, app.clock)
        first = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "executor": SINGLE,
            "queues": [queue_name],
            "state": RUNNING,
            "jobs": 1,
            "uuids": [uuid],
            "startedAt": to_text(app.clock.now()),
        }

        def details() -> Document:
            known = [list(known) for known in app.registry.versions()]
            return {"renewedAt": to_text(app.engine.now()), "knows": known, "held": self._held, "claiming": None}

        self._tally = Tally(app.datastore)
        self._records = WorkerRecords(app.engine)
        self.keeper = Lease(self._records, worker, details, self._executor.revoke, app.clock, lambda: first)
        self._control = CommandPoller(
            app.datastore, worker.name, lambda _orders: None, app.clock, self._executor.cancel
        )
        self._nonce = new_nonce()
        self._held = [self._nonce]
        self._holds = False

    def run(self, reservation: Reservation) -> None:
        claim = self._app.engine.claim_one(reservation, self._worker, self._load_head, self._nonce)
        if claim is None:
            self._held = []
            return
        self._holds = True
        joblog.claimed([claim])
        self._executor.start()
        self._executor.add([claim])
        self._control.start()
        try:
            outcome, seconds = self._wait(claim)
            if outcome is not None:
                settlement = outcome.settlement(claim)
                settlement.seconds = seconds
                self._settle(settlement)
        except BaseException:
            self._give_back(claim)
            raise
        self._holds = False

    def _load_head(self, head: Document) -> Any:
        if head["jobType"] in self._app.fleet.types.held():
            raise Unsuitable(HELD.format(head["jobType"]))
        return self._app.registry.load_head(head)

    def close(self) -> None:
        self._executor.close()
        self._control.stop()
        self.keeper.stop()
        if self._holds:
            return  # its record stays, so that other workers see the lease expire
        try:
            self._app.engine.unreserve()
            self._records.forget(self._worker.name, self._tally.to_record())
        except ZerogError as error:
            log.debug("the record of worker %s stays until its lease is over: %s", self._worker.name, error)

    def _take_end(self, _claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        self._ended.put((outcome, seconds))

    def _wait(self, claim: Claim) -> tuple[Outcome | None, float]:
        while True:
            self.keeper.check()
            self._executor.enforce()
            if self._stopping() and not self._executor.stopping.is_set():
                self._executor.stop()
                self._executor.cancel_stopped([claim], self._worker.name)
            try:
                return self._ended.get(timeout=min(0.5, self._worker.lease / 15))
            except queue.Empty:
                continue

    def _settle(self, settlement: Settlement) -> None:
        """Settle, retrying until it is answered; once the lease has expired the answer is that the run is lost."""
        pause = 0.05
        while True:
            answer = settle_once(self._app.engine, settlement, self._app.clock)
            if not isinstance(answer, Exception):
                end = [end_of(settlement) if answer else "lost"]
                self._tally.settled([settlement], end)
                joblog.settled([settlement], end)
                return
            log.warning("job %s has ended and can't be settled yet: %s", settlement.claim.uuid, answer)
            self._app.clock.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _give_back(self, claim: Claim) -> None:
        self._executor.stop()
        why = f"the worker that called {self._worker.name} stopped the run"
        self._executor.abandon(why)
        try:
            self._app.engine.release(claim.uuid, claim.run, why)
            self._holds = False
        except ZerogError as error:
            log.warning("job %s could not be released, its lease decides: %s", claim.uuid, error)
