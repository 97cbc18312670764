"""``Worker``: claims jobs, has them run, settles them, keeps its lease, repairs what others left.

The main thread only waits for the end. Beside it run the store thread (``store``), the slots (``slots`` or
``children``), the lease (``lease``) and the reconciler.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from zerog.clock import SYSTEM, Clock
from zerog.document import Document
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.jobs.checks import STOP
from zerog.lifecycle import Unsuitable
from zerog.orders import Orders, named
from zerog.reconcile import INTERVAL, Reconciler
from zerog.transitions import Worker as Identity
from zerog.worker.children import JOBS_PER_CHILD, ProcessSlots, child_main
from zerog.worker.control import Control
from zerog.worker.lease import Lease
from zerog.worker.leftovers import resident_memory
from zerog.worker.notify import Notifier
from zerog.worker.nursery import Nursery
from zerog.worker.slots import Slots, ThreadSlots
from zerog.worker.store import Store

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

LEASE = 30.0
"""Seconds of silence after which others may take a worker's jobs."""

GRACE = 25.0
"""Seconds that running jobs get at shutdown; Kubernetes kills after 30."""

EXECUTORS = ("thread", "async", "process")

STUCK_AFTER = 180.0
"""Seconds after which a thread that didn't come round is stuck. A call of the datastore or the queue may take long
while they can't be reached, but their adapters give up by themselves: SQLite, the slowest, within two minutes."""


@dataclass(frozen=True)
class WorkerStats:
    """What one ``Worker.run`` did. Every field but ``seconds`` is a count of runs."""

    ran: int
    succeeded: int
    failed: int
    cancelled: int
    requeued: int
    released: int
    lost: int
    seconds: float


class Worker:
    """Runs the jobs of one app in this process.

    ``concurrency``: jobs at once. ``executor``: ``thread``; ``async`` for an event loop with a task for each
    ``async def run`` and a thread for each plain one; or ``process`` for a child process per slot, so that a crash or a
    hard time limit hurts one job only. ``lease``: seconds of silence after which others take the jobs.
    ``grace``: seconds that running jobs get to stop. ``queues``: names, in order of priority.

    ``max_jobs``, ``max_memory``: runs, and bytes of resident memory, after which memory is returned to the system. With
    ``process`` the child that reached one of them is replaced (by default after 100 runs). With the others this worker
    itself stops claiming, lets the running jobs end in their own time, and ``run`` returns; a supervisor starts the
    next one.

    ``notifier``: told how this worker is; by default nobody.

    Raises ConfigurationError for anything that could not work.
    """

    def __init__(
        self,
        app: App,
        *,
        concurrency: int = 1,
        executor: str = "thread",
        lease: float = LEASE,
        grace: float = GRACE,
        queues: Sequence[str] = (),
        name: str | None = None,
        clock: Clock = SYSTEM,
        max_jobs: int | None = None,
        max_memory: int | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        if type(concurrency) is not int or not 1 <= concurrency <= 1_000:
            raise ConfigurationError(f"concurrency={concurrency!r}; expected a whole number from 1 to 1000")
        if executor not in EXECUTORS:
            raise ConfigurationError(f"executor={executor!r}; expected {', '.join(EXECUTORS)}")
        if not isinstance(lease, (int, float)) or not 0.5 <= lease <= 3600:
            raise ConfigurationError(f"lease={lease!r}; expected seconds from 0.5 to 3600")
        if not isinstance(grace, (int, float)) or grace < 0:
            raise ConfigurationError(f"grace={grace!r}; expected seconds, 0 or more")
        if max_jobs is not None and (type(max_jobs) is not int or max_jobs < 1):
            raise ConfigurationError(f"max_jobs={max_jobs!r}; expected a whole number of runs, 1 or more, or None")
        if max_memory is not None and (type(max_memory) is not int or max_memory < 1):
            raise ConfigurationError(f"max_memory={max_memory!r}; expected a whole number of bytes, 1 or more, or None")
        if executor == "process" and not app.datastore.shared:
            raise ConfigurationError(
                "executor='process' needs a datastore that other processes see; memory:// lives in one. Use "
                "executor='thread', or sqlite:///jobs.db"
            )
        self.app = app
        self.concurrency = concurrency
        self.executor = executor
        self.lease = float(lease)
        self.grace = float(grace)
        self.max_jobs = max_jobs
        self.max_memory = max_memory
        self.queues = tuple(queues) or (app.queue.name,)
        # Never reused: a worker that comes back under an old name could be taken for its predecessor.
        self.name = f"{name or socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self.clock = clock
        self.notifier = notifier or Notifier()
        self._stuck: str | None = None
        self._end = threading.Event()
        self._signals = 0
        self._received: set[int] = set()
        self._unknown_types: set[str] = set()

    def run(self, burst: bool = False) -> WorkerStats:
        """Work until ``stop()``, SIGTERM or SIGINT; with ``burst`` only until nothing is ready any more.

        Signals are handled if this is the main thread. The first one stops claiming, lets running jobs see
        ``stopping`` and waits ``grace`` seconds for them; a second one doesn't wait. What still runs then is
        released, uncounted. A process that SIGTERM has told to end ignores further ones after ``run`` has returned.

        Raises ZerogError, after it has given its jobs back, if it can't start child processes any more.
        """
        self._check_classes()
        for queue in self.queues:
            self.app.engine.named(queue)
        started = self.clock.monotonic()
        identity = Identity(self.name, self.lease)
        nursery = self._nursery()
        store = Store(
            self.app.engine,
            identity,
            self._accept,
            self.queues,
            self.concurrency,
            self.clock,
            lambda: lease.held and slots.broken() is None,
            self.max_jobs if nursery is None else None,
        )
        slots = self._make_slots(store, nursery)
        store.serve(slots)
        control = Control(
            self.app.datastore, self.name, lambda orders: self._obey(orders, store), self.clock, slots.cancel
        )
        details = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "executor": self.executor,
            "queues": list(self.queues),
        }

        def first() -> Document:
            return {**details, **control.kept()}

        def lost(why: str) -> None:
            store.give_back_unstarted()  # first, or a slot that gets free begins one of them
            slots.revoke(why)

        lease = Lease(self.app.engine, identity, dict, lost, self.clock, first)
        reconciler = Reconciler(self.app.engine, self.name, self.clock, min(INTERVAL, self.lease / 2))
        before = self._install_signals()
        try:
            control.turn()  # before the first claim: a queue may be paused
            lease.start()
        except BaseException:
            self._restore_signals(before)
            if nursery is not None:
                nursery.close()
            raise
        self._tell_start()
        control.start()
        slots.start()
        store.start()
        sweeping = threading.Thread(
            target=self._reconcile, args=(reconciler, store), name="zerog-reconcile", daemon=True
        )
        sweeping.start()
        try:
            self._until_end(store, slots, lease, control, burst)
        finally:
            released = self._shut_down(store, slots, lease, control, reconciler, identity)
            sweeping.join(1.0)
            self._restore_signals(before)
            # Not cleared at the start: a stop() that comes before run() counts, too.
            self._end = threading.Event()
        if store.failure is not None:
            raise store.failure
        return self._stats(store, released, self.clock.monotonic() - started)

    def stop(self) -> None:
        """Ask ``run`` to end; returns at once, harmless when repeated."""
        self._end.set()

    def _check_classes(self) -> None:
        for job_type, job_class in self.app.registry.get_registered_classes().items():
            is_ended = self.executor == "process" or (
                self.executor == "async" and inspect.iscoroutinefunction(job_class.run)
            )
            if job_class.TIMEOUT is not None and not is_ended:
                raise ConfigurationError(
                    f"{job_type} has a TIMEOUT of {job_class.TIMEOUT} s, which a thread can't be made to keep; use "
                    "executor='process', or executor='async' for an async def run. SOFT_TIMEOUT holds everywhere"
                )

    def _tell_start(self) -> None:
        types = ", ".join(sorted(self.app.registry.get_registered_classes()))
        log.log(
            logging.INFO if types else logging.WARNING,
            "worker %s runs %s, %d at once; it knows %s",
            self.name,
            ", ".join(self.queues),
            self.concurrency,
            types or "no job type and can run nothing",
        )

    def _accept(self, head: Document) -> Any:
        job_type = head["jobType"]
        try:
            return self.app.registry.accept(head)
        except Unsuitable as error:
            if job_type not in self._unknown_types and job_type not in self.app.registry.get_registered_classes():
                self._unknown_types.add(job_type)
                log.warning("worker %s leaves jobs of one type to others: %s", self.name, error)
            raise

    def _nursery(self) -> Nursery | None:
        if self.executor != "process":
            return None
        self.app.engine.close()  # no connection of this process may live on in a child
        return Nursery(child_main(self.app))

    def _make_slots(self, store: Store, nursery: Nursery | None) -> Slots:
        if self.executor == "async":
            from zerog.worker.eventloop import AsyncSlots  # asyncio is a third of the package's import time

            return AsyncSlots(self.app, self.concurrency, self.lease, store.done, self.clock)
        if nursery is None:
            return ThreadSlots(self.app, self.concurrency, self.lease, store.done, self.clock)
        max_jobs = self.max_jobs or JOBS_PER_CHILD
        return ProcessSlots(
            self.app, self.concurrency, self.lease, store.done, self.clock, nursery, max_jobs, self.max_memory
        )

    def _obey(self, orders: Orders, store: Store) -> None:
        """Claim from the queues that are left; the running jobs go on."""
        if orders.drain is not None:
            log.info("worker %s is drained%s", self.name, ", for good" if orders.is_for_good else "")
        paused = sorted(orders.paused.intersection(self.queues))
        if paused:
            log.info("worker %s claims nothing from paused queues: %s", self.name, ", ".join(paused))
        served = [name for name in self.queues if name not in paused]
        store.claim_from(served if orders.drain is None else ())

    def _until_end(self, store: Store, slots: Slots, lease: Lease, control: Control, burst: bool) -> None:
        pace = min(0.5, self.lease / 15, self.notifier.pace)
        at_its_end = False
        while not self._end.is_set() and store.failure is None:
            lease.check()
            slots.enforce()
            if (why := slots.broken()) is not None:
                raise ZerogError(f"{why}; this worker ends, and another one has to run its jobs")
            self._report(store, lease)
            at_its_end = at_its_end or self._has_done_its_share(store)
            if control.orders.is_for_good and not store.in_flight():
                return
            if at_its_end and not store.in_flight():
                return  # jobs that still ran had their own time; only a signal cuts it short
            if burst and store.drained.wait(min(pace, 0.2)):
                return
            if not burst:
                self.clock.wait(self._end, pace)

    def _report(self, store: Store, lease: Lease) -> None:
        """Tell who started this worker that it is well, unless one of its threads is stuck."""
        stuck = self._find_stuck(store, lease)
        if stuck is None:
            self.notifier.beat(self._status(store, lease), is_ready=store.answered and lease.held)
        elif self._stuck is None:
            log.error("worker %s: %s has not come round for more than %.0f s", self.name, stuck, STUCK_AFTER)
        self._stuck = stuck

    def _find_stuck(self, store: Store, lease: Lease) -> str | None:
        """A thread that doesn't come round although nothing keeps it. Waiting for a datastore that is away is no fault.

        While the lease can't be renewed the datastore is away, and the store thread may wait for it for any time.
        """
        now = self.clock.monotonic()
        if now - lease.turned > self.lease / 3 + STUCK_AFTER:
            return "the thread that renews the lease"
        if lease.held and now - max(store.turned, lease.held_since) > STUCK_AFTER:
            return "the thread that settles and claims"
        return None

    def _status(self, store: Store, lease: Lease) -> str:
        if not (store.answered and lease.held):
            return "waiting for the datastore"
        ended = ", ".join(f"{store.counts[name]} {name}" for name in ("succeeded", "failed", "requeued", "lost"))
        return f"{store.in_flight()} jobs claimed; {ended}"

    def _has_done_its_share(self, store: Store) -> bool:
        if self.executor == "process":
            return False
        if self.max_jobs is not None and store.counts["claimed"] >= self.max_jobs:
            return True  # the store claims nothing more by itself
        # Not before the first run, lest workers that are too big from the start replace each other for ever.
        if self.max_memory is None or not store.counts["ran"] or (memory := resident_memory()) <= self.max_memory:
            return False
        log.info("worker %s holds %d MiB and ends", self.name, memory >> 20)
        store.stop_claiming()
        return True

    def _shut_down(
        self,
        store: Store,
        slots: Slots,
        lease: Lease,
        control: Control,
        reconciler: Reconciler,
        identity: Identity,
    ) -> int:
        """End everything; returns how many jobs that still ran were released."""
        self._end.set()
        self.notifier.stopping("shutting down")
        store.stop_claiming()
        slots.stop()
        if store.in_flight():
            log.info("worker %s is shutting down; its jobs have %.0f s to stop", self.name, self.grace)
        self._cancel_stopped(slots)
        released = self._wait_for_jobs(store, slots, lease)
        control.stop()
        store.close(10.0)
        lease.stop()
        slots.close()
        with suppress(ZerogError):
            reconciler.release()
        if store.in_flight() <= len(released):
            with suppress(ZerogError):
                self.app.engine.retire(identity)
        return sum(released)

    def _cancel_stopped(self, slots: Slots) -> None:
        """Cancel the running jobs whose class says that a shutdown stops them. The datastore may be away."""
        claims = [claim for claim in slots.running() if claim.loaded[0].ON_SHUTDOWN == STOP]

        def cancel() -> None:
            for claim in claims:
                try:
                    self.app.engine.cancel(claim.uuid, f"stopped by the shutdown of worker {self.name}")
                except ZerogError as error:
                    log.warning("job %s could not be marked as cancelled: %s", claim.uuid, error)
                slots.cancel(named(claim.uuid, claim.epoch))

        if claims:
            threading.Thread(target=cancel, name="zerog-stop", daemon=True).start()

    def _wait_for_jobs(self, store: Store, slots: Slots, lease: Lease) -> list[bool]:
        """Wait for the running jobs as long as their classes want, and give back the rest; see ``_release_rest``."""
        asked = min(self._signals, 1)
        deadline = self.clock.monotonic() + self.grace
        never = threading.Event()
        released: list[bool] = []
        is_over = False
        while store.in_flight() and store.failure is None and self._signals <= asked:
            if not is_over and self.clock.monotonic() > deadline:
                is_over = True
                released += self._release_rest(slots, but_finishing=True)
            if is_over:
                if not slots.finishing():
                    break
                self.notifier.extend(f"waiting for {len(slots.finishing())} jobs to finish")
            lease.check()
            slots.enforce()
            self.clock.wait(never, 0.02)
        return released + (self._release_rest(slots) if store.in_flight() else [])

    def _release_rest(self, slots: Slots, but_finishing: bool = False) -> list[bool]:
        """Give back what still runs after the grace; tells of each job that could be asked for if it was released."""
        left = slots.abandon("the worker is shutting down and the job did not stop in time", but_finishing)
        if left:
            log.warning("worker %s stops %d jobs that did not end in time", self.name, len(left))
        why = f"released by worker {self.name} at its shutdown"
        released = []
        for claim in reversed(left):  # each goes ahead of all that wait, so the last one first
            try:
                released.append(self.app.engine.release(claim.uuid, claim.epoch, why))
            except ZerogError as error:
                log.warning("job %s could not be released, its lease decides: %s", claim.uuid, error)
        return released

    def _reconcile(self, reconciler: Reconciler, store: Store) -> None:
        pause = 0.0
        end = self._end
        while not self.clock.wait(end, pause):
            pause = reconciler.pause()
            was_empty, store.came_back_empty = store.came_back_empty, False
            try:
                reconciler.turn(was_empty)
            except ZerogError as error:
                log.warning("could not reconcile, trying again: %s", error)
            except Exception:
                log.exception("reconcile failed; trying again in %.0f s", pause)

    def _install_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self._signals += 1
            self._received.add(number)
            self._end.set()

        return {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

    def _restore_signals(self, before: dict[int, Any]) -> None:
        for number, handler in before.items():
            # With the default handler, a further one of a storm would make a clean end look like a death.
            told_to_end = number == signal.SIGTERM and number in self._received
            signal.signal(number, signal.SIG_IGN if told_to_end else handler)

    def _stats(self, store: Store, released: int, seconds: float) -> WorkerStats:
        counts = store.counts
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
