"""The fleet: the workers, their state, and an operator's commands to them.

Everything is stored in documents in the datastore. Workers poll their commands about once a second, so that they obey
within seconds, wherever the workers run and whatever the datastore is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    InvalidValue,
    QueueError,
    WorkerNotFound,
)
from zerog.fleet.heartbeat import WorkerRecords
from zerog.fleet.held import HeldTypes
from zerog.fleet.past import PastRuns
from zerog.fleet.settings import LiveSettings
from zerog.records.commands import ALL, DRAINING, RUNNING, SILENT, paused_in
from zerog.records.fields import is_name
from zerog.records.job import QUEUED, SCHEDULED, Document
from zerog.records.keys import QUEUES, worker_key
from zerog.records.limits import ANY, parked_term
from zerog.records.operations import Set
from zerog.records.worker import lease_of, read_record, read_workers
from zerog.support.checks import check_queue_name, check_text
from zerog.support.clock import seconds_between, to_text

log = logging.getLogger("zerog")

SHOWN = (
    "host",
    "pid",
    "build",
    "executor",
    "queues",
    "jobs",
    "uuids",
    "memory",
    "startedAt",
    "drain",
    "config",
    "heldTypes",
)
"""Fields of a worker's record that are returned unchanged."""

SINGLE = "single"
"""The executor of a worker that lives for one delivery of another system's worker: it takes no commands."""

COUNTED = 500
"""Scheduled jobs that are read for the numbers of a queue, and queued ones that are counted if there are more, unless
the caller sets another number."""

SAMPLE = 100
"""Waiting jobs that are read for the names of their queues."""


class Pause(NamedTuple):
    """What pauses a queue."""

    name: str
    """To be resumed: the queue's own, or ``*``."""
    entry: Document
    """Since when, by whom and why."""


class Fleet:
    """The workers and queues of one app, as ``app.fleet``. Every method raises the errors of the datastore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._records = WorkerRecords(engine)
        self.types = HeldTypes(engine)
        """The job types that an operator holds: hold, release."""
        self.settings = LiveSettings(engine)
        """The limits of queues and the queues of roles: set, list."""
        self.past = PastRuns(engine)
        """The time that past runs of a type took: seconds."""

    def workers(self) -> list[dict[str, Any]]:
        """Return all workers that have a record, by name.

        Each has ``name``, ``state`` (``running``, ``draining``, ``drained``, ``stopping``, ``silent``), ``host``,
        ``pid``, ``build``, ``executor``, ``queues``, ``jobs`` (how many run), ``uuids`` (of up to 20 of them),
        ``memory`` (bytes resident, with those of child processes), ``startedAt``, ``drain`` (the command, or None),
        ``config``, ``heldTypes`` (of which it takes no jobs, by an operator's command), ``lease`` and ``age`` (seconds
        since its last heartbeat, sent every third of its lease). Unknown
        values are None. A worker is silent when its age exceeds its lease: by the datastore's clock, or, without one,
        by this machine's and the worker's, which may differ. This is for display; jobs are taken from a worker only
        once its beat was observed to stand still for a lease.
        """
        now = self._now()
        found = []
        for name, record in read_workers(self._engine.datastore, sorted(self._records.directory())).items():
            if record.fields is not None:
                found.append(self._shown(name, record.fields, now))
        return found

    def drain(
        self,
        *names: str,
        host: str | None = None,
        everyone: bool = False,
        for_good: bool = False,
        by: str = "",
    ) -> list[dict[str, Any]]:
        """Stop workers from claiming jobs; running jobs continue. Returns the workers addressed, as in ``workers``.

        Workers are chosen by name (a worker's own name, or the prefix set for it), by ``host``, or with ``everyone``.
        ``for_good``: they end once their jobs have, and no supervisor of ZeroG replaces them. Otherwise they wait for
        ``undrain``. A worker that is started later claims as usual. ``by``: the author of the command.

        Raises WorkerNotFound if no worker has a name, or runs on the host; then no worker is drained. Raises
        InvalidValue.
        """
        order = {"since": self._now(), "by": check_text("by", by), "forGood": for_good}
        return self._order_all(order, names, host, everyone)

    def undrain(self, *names: str, host: str | None = None, everyone: bool = False) -> list[dict[str, Any]]:
        """Let drained workers claim again; the same as ``drain`` otherwise."""
        return self._order_all(None, names, host, everyone)

    def queues(self, cap: float = COUNTED) -> list[dict[str, Any]]:
        """Return the queues that are known from workers, waiting jobs, pauses and limits, by name.

        Each has ``name``, ``waiting`` (entries on the queue, but for those of scheduled jobs; None if unknown),
        ``scheduled`` (jobs that may not start yet; None if the datastore can't find), ``parked`` (jobs that wait for a
        slot of a limit, 500 at most; None if the datastore parks none), ``workers`` (how many serve it
        and are neither silent nor drained), ``paused`` (``since``, ``by`` and ``reason``, or None) and ``limits`` (as
        ``settings.queues`` has them, or None). If more than ``cap`` jobs are scheduled, ``capped`` is True of each
        queue: ``scheduled`` counts those of the first ones, and ``waiting`` the documents of some queued jobs, so that
        both may be higher. With ``math.inf`` all are counted.
        """
        limits = self.settings.queues()
        serving: dict[str, int] = {self._engine.queue.name: 0, **dict.fromkeys((*self.pauses(()), *limits), 0)}
        for worker in self.workers():
            for name in worker["queues"] or ():
                serving[name] = serving.get(name, 0) + (worker["state"] == RUNNING)
        scheduled, is_capped = self._scheduled(cap) if self._engine.datastore.can_find else (None, False)
        if scheduled is not None:
            sample = self._engine.datastore.find(FindQuery(status=QUEUED, limit=SAMPLE)).heads
            for name in (*scheduled, *(head.get("queueName") for head in sample)):
                if is_name(name):
                    serving.setdefault(str(name), 0)
        pauses = self.pauses(serving)
        parked = self._parked(serving)
        return [
            {
                "name": name,
                "waiting": self._waiting(
                    name, None if scheduled is None else scheduled[name], int(cap) if is_capped else None
                ),
                "scheduled": None if scheduled is None else scheduled[name],
                "parked": parked.get(name),
                "workers": workers,
                "paused": pause.entry if (pause := pauses[name]) else None,
                "limits": limits.get(name),
                "capped": is_capped,
            }
            for name, workers in sorted(serving.items())
        ]

    def _parked(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many jobs of each queue are parked, COUNTED at most; nothing if the datastore parks none."""
        if not self._engine.parks:
            return {}
        terms, count = (parked_term(ANY),), self._engine.datastore.count
        if not count(FindQuery(order=OLDEST, attrs=terms), 1).number:
            return dict.fromkeys(names, 0)
        return {name: count(FindQuery(order=OLDEST, queue=name, attrs=terms), COUNTED).number for name in names}

    def _waiting(self, name: str, scheduled: int | None, cap: int | None) -> int | None:
        size = self._size(name)
        if size is None:
            return None
        if cap is not None:  # how many of the entries are those of scheduled jobs is unknown
            queued = self._engine.datastore.count(FindQuery(status=QUEUED, queue=name), cap).number
            return min(size, queued)
        return max(0, size - (scheduled or 0))

    def _scheduled(self, cap: float) -> tuple[Counter[str], bool]:
        """Return how many of the first ``cap`` scheduled jobs may not start yet, by queue; True if there are more."""
        now, found, after, left = self._now(), Counter[str](), None, cap
        while left > 0:
            page = self._engine.datastore.find(FindQuery(status=SCHEDULED, after=after, limit=int(min(left, 1_000))))
            for head in page.heads:
                found[str(head.get("queueName"))] += str(head.get("notBefore") or "") > now  # 0 names the queue, too
            left, after = left - 1_000, page.after
            if after is None:
                return found, False
        return found, True

    def paused(self) -> Document:
        """Return the paused queues by name, each with ``since``, ``by``, ``reason``; none if the record is damaged."""
        try:
            return paused_in(read_record(self._engine.datastore, QUEUES).fields)
        except CorruptDocument:  # reported by doctor; pausing or resuming a queue makes the document anew
            return {}

    def pauses(self, queues: Iterable[str]) -> dict[str, Pause | None]:
        """Return for these queues, and all that are paused by name, the pause that holds, or None; by name."""
        paused = self.paused()
        names = sorted({*queues, *paused} - {ALL})
        holds = {name: name if name in paused else ALL for name in names}
        return {name: Pause(by, paused[by]) if by in paused else None for name, by in holds.items()}

    def pause(self, queue: str, reason: str = "", by: str = "") -> bool:
        """Stop all claims from a queue; jobs are still accepted. False, and a no-op, if it is paused already.

        ``queue``: a name, or ``*`` for all queues, of any name, until ``resume("*")``. Running jobs continue.
        Raises InvalidValue, and ConfigurationError for a name that no queue here can have.
        """
        if queue != ALL:
            self._engine.queue_named(check_queue_name(queue))
        entry = {"since": self._now(), "by": check_text("by", by), "reason": check_text("reason", reason)}
        return self._change_paused(lambda paused: paused.setdefault(queue, entry) is entry)

    def resume(self, queue: str) -> bool:
        """Let workers claim from a paused queue again, with ``*`` from all but those paused by name.

        False if it was not paused.
        """
        return self._change_paused(lambda paused: paused.pop(queue, None) is not None)

    def _shown(self, name: str, record: Document, now: str) -> dict[str, Any]:
        age = _age(record.get("renewedAt"), now)
        lease = lease_of(record)
        state = SILENT if age is not None and age > lease else record.get("state", RUNNING)
        if state == RUNNING and record.get("drain"):
            state = DRAINING  # it has not obeyed yet
        return {"name": name, "state": state, "lease": lease, "age": age, **{f: record.get(f) for f in SHOWN}}

    def _order_all(
        self, order: Document | None, names: tuple[str, ...], host: str | None, everyone: bool
    ) -> list[dict[str, Any]]:
        ordered = []
        for worker in self._chosen(names, host, everyone):
            if self._order(worker["name"], order):
                ordered.append({**worker, "drain": order})
        return ordered

    def _chosen(self, names: tuple[str, ...], host: str | None, everyone: bool) -> list[dict[str, Any]]:
        if bool(names) + (host is not None) + everyone != 1:
            raise InvalidValue("name workers, or give a host, or choose all of them, one of these; no order was given")
        workers = [worker for worker in self.workers() if worker["executor"] != SINGLE]
        if everyone:
            return workers
        if host is not None:
            chosen = [worker for worker in workers if worker["host"] == host]
            if not chosen:
                raise _unknown(f"on host {host!r}", (str(worker["host"]) for worker in workers))
            return chosen
        for name in names:
            if not any(name in _names(worker) for worker in workers):
                raise _unknown(f"called {name!r}", (worker["name"] for worker in workers))
        return [worker for worker in workers if not _names(worker).isdisjoint(names)]

    def _order(self, worker: str, order: Document | None) -> bool:
        """Write a command into a worker's record; False if the worker has left meanwhile."""
        datastore = self._engine.datastore
        key = worker_key(worker)
        attempts = Attempts(datastore, key, self._engine.clock)
        while True:
            try:
                with attempts:
                    datastore.mutate(key, [Set("drain", order)])
                    return True
                if datastore.read(key) is None:
                    return False
            except CorruptDocument as error:
                log.warning("worker %s got no order: %s", worker, error)
                return False

    def _change_paused(self, change: Callable[[Document], bool]) -> bool:
        datastore = self._engine.datastore
        attempts = Attempts(datastore, QUEUES, self._engine.clock)
        while True:
            record, token = self._records.read_or_remove(QUEUES)
            is_damaged = False
            try:
                paused = dict(paused_in(record))
            except CorruptDocument as error:
                log.warning("the queues that were paused can't be read and are forgotten: %s", error)
                paused, is_damaged = {}, True
            if not change(paused) and not is_damaged:
                return attempts.unanswered > 0  # it may be this write that has changed it
            kept = {} if is_damaged else record or {}
            with attempts:
                datastore.set_with_cas(QUEUES, {**kept, "documentType": QUEUES, "paused": paused}, token or 0)
                return True

    def _size(self, queue: str) -> int | None:
        try:
            return self._engine.queue_named(queue).size()
        except (QueueError, ConfigurationError):  # unreachable, or a name that this queue can't have
            return None

    def _now(self) -> str:
        return to_text(self._engine.now())


def _names(worker: dict[str, Any]) -> set[str]:
    """Return the names that select a worker."""
    config = worker["config"]
    return {worker["name"], str(config.get("name"))} if isinstance(config, dict) else {worker["name"]}


def _unknown(which: str, known: Iterable[str]) -> WorkerNotFound:
    return WorkerNotFound(
        f"there is no worker {which}; known: {', '.join(sorted(set(known))) or 'none'}. No order was given."
    )


def _age(renewed: object, now: str) -> float | None:
    try:
        return max(0.0, seconds_between(str(renewed), now))
    except ValueError:
        return None
