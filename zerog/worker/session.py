"""One run of a worker, from its first read of the datastore to the removal of its record.

The thread that calls ``run`` only waits for the end. Beside it run the fetcher's thread (``fetcher``), the slots
(``executors``), the lease (``lease``), the control channel (``control``) and the reconciler.
"""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zerog.engine.engine import Unsuitable
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreError, ZerogError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.fleet.process_identity import identity
from zerog.records.commands import DRAINED, DRAINING, RUNNING, STOPPING, WorkerCommands
from zerog.records.job import Document
from zerog.support.clock import Clock, to_text
from zerog.support.descriptors import descriptors
from zerog.worker.control import HELD, CommandPoller
from zerog.worker.executors.choice import executor_of, fork_server_of, types_for_children
from zerog.worker.executors.cleanup import resident_memory
from zerog.worker.fetcher import Fetcher
from zerog.worker.health import Health, HealthReporter
from zerog.worker.lease import Lease
from zerog.worker.settings import Settings
from zerog.worker.shutdown import Shutdown, StopRequest
from zerog.worker.sweeping import SweepThread

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

UUIDS = 20
"""Running jobs that a worker's record names, at most; all are counted."""

DEBUG_PACE = 0.05
"""Seconds between two looks for jobs in debug mode, in which the thread that looks runs them."""

NOTHING = (("", 0.0),)
"""What a worker takes all of whose types are held; an empty list would stand for all."""

LONGEST_PAUSE = 30.0
"""Seconds between two tries to reach the datastore at the start, at most, before jitter."""


@dataclass(frozen=True)
class WorkerStats:
    """Result of one ``Worker.run``. Every field but ``seconds`` is a count of runs."""

    ran: int
    succeeded: int
    failed: int
    cancelled: int
    requeued: int
    released: int
    lost: int
    seconds: float


class Session:
    """Makes everything that a worker of this name needs; forks if it may need child processes, before any thread runs.

    ``stop_request``: ends the session. ``buried``: workers whose processes are gone, and whether each was stopping.
    ``owns_process``: whether nothing but this worker uses the process.
    """

    _held: frozenset[str] = frozenset()
    """The held types that it follows."""

    _of_role: tuple[str, ...] | None = None
    """The queues of its role that it follows."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        name: str,
        stop_request: StopRequest,
        reporter: HealthReporter,
        clock: Clock,
        buried: Sequence[tuple[str, bool]] = (),
        owns_process: bool = False,
    ) -> None:
        self._app = app
        self._settings = settings
        self._name = name
        self._stop_request = stop_request
        self._reporter = reporter
        self._clock = clock
        self._unknown_types: set[str] = set()
        app.build_id = settings.build_id or app.build_id  # before the nursery takes its copy
        self._identity = WorkerIdentity(name, settings.lease, app.build_id, app.registry.versions())
        self.has_worked = False
        """True once it has begun to claim jobs."""
        self._reported = ""
        """The state in the latest renewal of the lease."""
        self._forkserver = fork_server_of(app, settings, owns_process)
        self._fetcher = Fetcher(
            app.engine,
            self._identity,
            self._load_head,
            settings.queues,
            settings.concurrency,
            clock,
            self._may_claim,
            settings.max_jobs,
        )
        self._executor = executor_of(app, settings, self._forkserver, self._fetcher.done, clock)
        self._started_at = to_text(clock.now())
        self._executor.interrupted = stop_request.ask
        self._fetcher.serve(self._executor)
        self._control = CommandPoller(app.datastore, name, self._follow, clock, self._executor.cancel, settings.role)
        self._records = WorkerRecords(app.engine)
        self._lease = Lease(self._records, self._identity, self._details, self._lose, clock, self._first)
        self._health = Health(self._identity, self._fetcher, self._lease, reporter, clock)
        self._shutdown = Shutdown(
            app.engine, name, settings.grace, self._fetcher, self._executor, self._lease, reporter, stop_request, clock
        )
        self._sweeping = SweepThread(
            app, name, settings.lease / 2, buried, stop_request.event, clock, self._count_repairs
        )

    def run(self, burst: bool) -> WorkerStats:
        """Work until the end is requested, or with ``burst`` until nothing is ready. Raises what is fatal."""
        started = self._clock.monotonic()
        released = 0
        try:
            is_connected = self._connect()
        except BaseException:
            self._leave()
            raise
        if is_connected:
            self.has_worked = True
            self._start()
            try:
                self._until_end(burst)
            finally:
                released = self._shut_down()
            if self._fetcher.failure is not None:
                raise self._fetcher.failure
        else:
            self._leave()
        return self._stats(released, self._clock.monotonic() - started)

    # start

    def _connect(self) -> bool:
        """Read the orders and store the worker's record, as soon as the datastore answers; False if stopped before.

        Raises what the datastore raised last after ``connect_retries`` tries more.
        """
        retries, pause = self._settings.connect_retries, 0.25
        tried = 0
        while not self._stop_request.event.is_set() or not tried:
            try:
                self._control.turn()  # before the first claim: a queue may be paused
                self._lease.start()
                return True
            except DatastoreError as error:
                if retries is not None and tried >= retries:
                    text = f"worker {self._name} tried {tried + 1} times to reach the datastore and gives up"
                    error.add_note(text)
                    log.error("%s", text)  # the error itself, which is logged elsewhere, has the reason
                    raise
                tried += 1
                log.warning("worker %s waits for the datastore, try %d: %s", self._name, tried, error)
            self._reporter.beat("waiting for the datastore", is_ready=False)
            self._clock.wait(self._stop_request.event, pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, LONGEST_PAUSE)
        return False

    def _leave(self) -> None:
        """Close what was made and never started."""
        if self._forkserver is not None:
            self._forkserver.close()

    def _start(self) -> None:
        types = ", ".join(sorted(self._app.registry.get_registered_classes()))
        log.log(
            logging.INFO if types else logging.WARNING,
            "worker %s runs %s, %d at once; it knows %s",
            self._name,
            ", ".join(self._queues()) or f"nothing until zerog roles sets queues of its role {self._settings.role}",
            self._settings.concurrency,
            types or "no job type and can run nothing",
        )
        self._log_limited()
        self._control.start()
        self._executor.start()
        self._fetcher.start()
        self._sweeping.start()

    def _log_limited(self) -> None:
        if self._settings.debug:
            text = "worker %s is in debug mode: jobs run one at a time in the thread that called run(), without time "
            log.warning(text + "limits, under a lease of %.0f s; not for production", self._name, self._settings.lease)
            return
        limited = ", ".join(types_for_children(self._app, self._settings))
        if not limited or self._settings.executor == "process":
            return
        if self._forkserver is not None:
            log.info("worker %s runs %s in child processes, which their TIMEOUT can end", self._name, limited)
        else:
            text = "worker %s can't kill a run of %s at its TIMEOUT, as no child can use its datastore: the run "
            log.warning(text + "loses its job, and keeps its slot until it returns", self._name, limited)

    # callbacks of the threads

    def _load_head(self, head: Document) -> Any:
        job_type = head["jobType"]
        if job_type in self._control.orders.held:
            raise Unsuitable(HELD.format(job_type))
        try:
            return self._app.registry.load_head(head)
        except Unsuitable as error:
            if job_type not in self._unknown_types and job_type not in self._app.registry.get_registered_classes():
                self._unknown_types.add(job_type)
                log.warning("worker %s leaves jobs of one type to others: %s", self._name, error)
            raise

    def _may_claim(self) -> bool:
        return self._lease.held and not self._cannot_fork()

    def _cannot_fork(self) -> bool:
        return self._forkserver is not None and self._forkserver.is_gone

    def _lose(self, why: str, is_outage: bool) -> None:
        self._fetcher.tally.count("leaseLosses")
        self._fetcher.give_back_unstarted()  # first, or a slot that gets free begins one of them
        self._executor.revoke(why, is_outage)

    def _count_repairs(self, number: int) -> None:
        self._fetcher.tally.count("repairs", number)

    def _follow(self, orders: WorkerCommands) -> None:
        """Claim from the queues that are left; the running jobs continue."""
        if orders.drain is not None:
            log.info("worker %s is drained%s", self._name, ", for good" if orders.is_for_good else "")
        queues = self._queues()
        if orders.queues != self._of_role:
            self._of_role = orders.queues
            log.info(
                "worker %s serves the queues of its role %s: %s", self._name, self._settings.role, ", ".join(queues)
            )
            self._lease.hurry()  # so that its record shows it
        paused = [name for name in queues if orders.is_paused(name)]
        if paused:
            log.info("worker %s claims nothing from paused queues: %s", self._name, ", ".join(paused))
        if orders.held != self._held:
            self._hold(orders.held)
        served = [name for name in queues if name not in paused]
        self._fetcher.claim_from(served if orders.drain is None else ())

    def _queues(self) -> tuple[str, ...]:
        """Return the queues that it serves when none is paused: those of its role, if it has one."""
        return self._control.orders.queues or self._settings.queues

    def _hold(self, held: frozenset[str]) -> None:
        """Leave jobs of these types to workers with other orders; what no slot has begun goes back."""
        log.info("worker %s leaves jobs of held types: %s", self._name, ", ".join(sorted(held)) or "of none any more")
        self._held = held
        known = tuple(each for each in self._app.registry.versions() if each[0] not in held)
        self._fetcher.worker = replace(self._fetcher.worker, knows=known or NOTHING)
        self._fetcher.give_back_unstarted()

    def _first(self) -> Document:
        """Return the fields that a new record of the worker starts with."""
        self._fetcher.tally.begin_anew()
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": identity(),
            "build": self._app.build_id,
            "executor": self._settings.executor,
            "queues": list(self._queues()),
            "startedAt": self._started_at,
            "config": self._settings.to_json(),
            "schedules": self._app.schedules.digests(),
            **self._control.kept(),
        }

    def _details(self) -> Document:
        """Return the fields that each renewal of the lease writes beside the beat."""
        self._reported = self._state()
        running = self._executor.running()
        return {
            "state": self._reported,
            **({} if self._settings.role is None else {"queues": list(self._queues())}),
            "jobs": len(running),
            "uuids": [claim.uuid for claim in running[:UUIDS]],
            "memory": self._executor.memory(),
            "descriptors": descriptors(),
            "renewedAt": to_text(self._app.engine.now()),
            "heldTypes": sorted(self._held),
            "knows": [list(known) for known in self._app.registry.versions()],
            **self._fetcher.holdings.record(),
            "rates": self._fetcher.tally.to_record(),
        }

    def _state(self) -> str:
        if self._stop_request.event.is_set():
            return STOPPING
        if self._control.orders.drain is None:
            return RUNNING
        return DRAINING if self._fetcher.in_flight() else DRAINED

    # end

    def _until_end(self, burst: bool) -> None:
        pace = DEBUG_PACE if self._settings.debug else min(0.5, self._settings.lease / 15, self._reporter.pace)
        store = self._fetcher
        at_its_end = False
        while not self._stop_request.event.is_set() and store.failure is None:
            if self._executor.work():
                continue
            self._lease.check()
            self._executor.enforce()
            if (why := self._dead_part()) is not None:
                raise ZerogError(f"{why}; this worker ends, and another one has to run its jobs")
            self._health.report()
            if self._state() != self._reported:
                self._lease.hurry()
            at_its_end = at_its_end or self._has_done_its_share()
            if (at_its_end or self._control.orders.is_for_good) and not store.in_flight():
                if self._control.orders.is_for_good:
                    self._reporter.retiring()
                else:
                    self._reporter.recycling()
                return  # running jobs were waited for without a limit; only a signal cuts that short
            if burst and store.drained.wait(min(pace, 0.2)):
                return
            if not burst:
                self._clock.wait(self._stop_request.event, pace)

    def _dead_part(self) -> str | None:
        """Return what has ended that should run as long as the worker, or None; its log has a thread's traceback."""
        if self._cannot_fork():
            return "the process that forks children is gone"
        threads = {
            "renews the lease": self._lease.is_alive,
            "reads orders": self._control.is_alive,
            "reconciles": self._sweeping.is_alive(),
        }
        dead = [f"that {does}" for does, is_alive in threads.items() if not is_alive]
        slot = self._executor.dead_thread()
        dead += [] if slot is None else [f"{slot}, which runs jobs,"]
        return f"the thread {dead[0]} has ended" if dead else None

    def _has_done_its_share(self) -> bool:
        settings, counts = self._settings, self._fetcher.counts
        if settings.max_jobs is not None and counts["claimed"] >= settings.max_jobs:
            return True  # the fetcher has the same limit and claims nothing more
        if settings.executor == "process":
            return False  # a child that holds too much is replaced
        # Not before the first run, lest workers that are too big from the start replace each other for ever.
        if settings.max_memory is None or not counts["ran"] or (memory := resident_memory()) <= settings.max_memory:
            return False
        log.info("worker %s holds %d MiB and ends", self._name, memory >> 20)
        self._fetcher.stop_claiming()
        return True

    def _shut_down(self) -> int:
        """End everything; returns how many jobs that still ran were released."""
        released = self._shutdown.part()
        self._control.stop()
        self._fetcher.close(10.0)
        self._lease.stop()
        self._executor.close()
        self._sweeping.release()
        rates = self._fetcher.tally.to_record()
        with suppress(ZerogError):
            if self._fetcher.in_flight() <= len(released):
                self._app.engine.unreserve()
                self._records.forget(self._identity.name, rates)
            else:
                self._records.rates.retire(rates)
        self._sweeping.join(1.0)
        return sum(released)

    def _stats(self, released: int, seconds: float) -> WorkerStats:
        counts = self._fetcher.counts
        return WorkerStats(
            ran=counts["ran"],
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            requeued=counts["requeued"],
            released=counts["released"] + released,
            lost=counts["lost"],
            seconds=seconds,
        )
