"""Sort each unfinished job, by its head, into the finding that names its fault."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from zerog.contracts.datastore import Page
from zerog.engine.engine import Engine, Unsuitable
from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.fleet.crew import Crew
from zerog.fleet.liveness import FailureDetector
from zerog.jobs.progress import is_stalled
from zerog.maintenance.findings import Commands, Finding, longer_than
from zerog.maintenance.parked_findings import parked_jobs
from zerog.maintenance.paused_findings import paused_jobs
from zerog.maintenance.reconcile import CANCEL_GRACE
from zerog.records.fields import FORMAT, IN_QUEUE, PENDING, is_name
from zerog.records.job import KEY_PREFIX, RUNNING, WAITING, Document, check_head, make_key
from zerog.records.worker import LEASE, lease_of
from zerog.support.clock import seconds_between, text_after, to_text

if TYPE_CHECKING:
    from zerog.registry import JobRegistry

CLOCKS_APART = 60.0
"""Seconds for which a timestamp may be ahead of this machine's clock before one of the clocks is considered wrong."""


OVERDUE = 60.0
"""Seconds for which a job is pending, beyond its writer's grace, after which no process puts it on its queue."""


ENTRIES = 1_000
"""Jobs of one queue whose entries are looked up on the queue, at most."""


class JobFindings:
    """Classifies heads, one after the other. ``crew``: the living workers' records, read before the heads."""

    def __init__(
        self, engine: Engine, registry: JobRegistry, watch: FailureDetector, crew: Crew, held: Collection[str]
    ) -> None:
        self._engine = engine
        self._held = held
        self._registry = registry
        self._watch = watch
        self._crew = crew
        self._now = to_text(engine.clock.now())
        self.held: Counter[str] = Counter()
        """Jobs that wait, by their type, if it is held."""
        self._soon = text_after(self._now, CLOCKS_APART)
        self._overdue = text_after(self._now, -OVERDUE)
        self._silent: dict[str, bool] = {}
        self._seen: set[str] = set()
        self.owners: set[str] = set()
        """The workers that own a job."""
        self.waiting: Counter[str] = Counter()
        """Jobs that wait, by queue."""
        self.in_queue: Counter[str] = Counter()
        """Jobs that are on their queue by their fields, by queue."""
        self.entries: defaultdict[str, list[Document]] = defaultdict(list)
        """The first heads of jobs that are on their queue by their fields and can be taken, by queue."""
        self.untaken_queues: set[str] = set()
        """The queues of jobs whose type this app has and no living worker takes."""
        self.leases = [0.0]
        """The leases of silent owners and of those without a record."""
        self._prepare_findings()

    def _prepare_findings(self) -> None:
        self.fresh = Finding("jobs are on their way to their queue", 0, "nothing to do", False)
        by_a_sweep = "a sweep does; a worker that runs makes one every 10 s"
        self.pending = Finding("jobs are stored but never reached their queue", 0, by_a_sweep, False)
        self.silent = Finding("jobs have an owner that is silent", 0, f"take them back; {by_a_sweep}", True)
        self.lost = Finding("jobs run under a living worker that does not hold them", 0, by_a_sweep, True)
        self.unrecorded = Finding(
            "jobs have an owner without a record; it may be dead", 0, "look again after its lease", False
        )
        self.unstopped = Finding(
            "jobs were cancelled or paused and their owner does not stop them",
            0,
            f"take them from it; {by_a_sweep}",
            True,
        )
        self.stalled = Finding(
            "jobs run and have written nothing for longer than their STALLED_AFTER",
            0,
            "nothing, if they have such long steps; if they hang, cancel them, and have them tick or call keep_alive",
            True,
        )
        self.unreadable = Finding(
            "documents make no sense and are set aside", 0, "mend them in the datastore, or remove them", True
        )
        self.unfit = Finding(
            "jobs can't be loaded and are left alone", 0, "mend their class or their documents, or cancel them", True
        )
        renamed = "if a field was renamed, raise SCHEMA_VERSION and add a migration"
        self.undeclared = Finding("jobs have stored fields that their class does not declare", 0, renamed, True)
        self.too_new = Finding(
            "jobs were written by newer code and are left alone", 0, "start workers with the newer code", True
        )
        self.unknown_type = Finding(
            "jobs have a type that neither this app nor a living worker knows",
            0,
            "register their class, app.register(...), or cancel them",
            True,
        )
        self.untaken = Finding(
            "jobs wait whose type or version no living worker of their queue knows",
            0,
            "start workers with the code of this app",
            True,
        )
        self.early = Finding(
            "jobs were written at a time that this machine's clock has not reached",
            0,
            "set the clocks of the machines that run workers; delays and due times are wrong until then",
            True,
        )

    def findings(self, zerog: Commands) -> list[Finding]:
        """Return all findings, with the commands that repair them."""
        after = ("--watch", str(longer_than(max(self.leases))))
        self.pending.command = zerog("reconcile")
        self.silent.command = zerog("reconcile", *after)
        self.lost.command = zerog("reconcile", "--watch", str(longer_than(LEASE)))
        self.unrecorded.command = zerog("doctor", *after)
        self.unstopped.command = zerog("reconcile", "--watch", str(longer_than(CANCEL_GRACE)))
        self.untaken.command = zerog("worker", "--queues", ",".join(sorted(self.untaken_queues)))
        for finding in (self.stalled, self.unfit, self.unknown_type):
            finding.command_for_jobs(zerog, "jobs cancel")
        self.unreadable.command_for_jobs(zerog, "jobs rm", "--damaged")
        return [
            self.pending,
            self.silent,
            self.lost,
            self.unrecorded,
            self.unstopped,
            self.stalled,
            self.fresh,
            self.unreadable,
            self.unfit,
            self.undeclared,
            self.too_new,
            self.unknown_type,
            self.untaken,
            self.early,
            *paused_jobs(self._engine, zerog),
            *parked_jobs(self._engine, zerog),
        ]

    def look_at_page(self, page: Page, status: str | None = None) -> None:
        """Classify jobs that have this status; without one, those that wait and were not in a page before."""
        for head in page.heads:
            if status is not None or (head.get("status") in WAITING and str(head.get("uuid")) not in self._seen):
                self.look(head, status or head["status"])
        for key in page.unreadable:
            self.look_at_unreadable(key)

    def look(self, head: Document, status: str) -> None:
        """Classify one unfinished job."""
        uuid = str(head.get("uuid"))
        self._seen.add(uuid)
        if status in WAITING and str(head.get("jobType")) in self._held and is_name(head.get("queueName")):
            self.held[str(head["jobType"])] += 1
            self.waiting[head["queueName"]] += 1
            return
        if str(head.get("updatedAt") or "") > self._soon:
            self.early.add(uuid, f"changed at {head['updatedAt']}, it is {self._now} here")
        stuck = self._why_stuck(head)
        if status in WAITING and is_name(head.get("queueName")):
            self._count_waiting(head)
        if stuck is not None:
            stuck[0].add(uuid, f"since {head.get('updatedAt')}: {stuck[1]}")
        elif status == RUNNING:
            self._look_at_run(head)
        elif head.get("queueState") == IN_QUEUE and len(self.entries[head["queueName"]]) < ENTRIES:
            self.entries[head["queueName"]].append(head)
        elif head.get("queueState") == PENDING:
            due = str(head.get("due") or "")
            (self.pending if due <= self._now else self.fresh).add(uuid, f"since {head['updatedAt']}")
            self.pending.needs_person |= due <= self._overdue

    def _count_waiting(self, head: Document) -> None:
        name = head["queueName"]
        self.waiting[name] += 1
        if head.get("queueState") == IN_QUEUE:
            self.in_queue[name] += 1

    def look_at_unreadable(self, key: str) -> None:
        """Classify a document that was left out of a page."""
        uuid = key.removeprefix(KEY_PREFIX)
        if uuid not in self.unreadable.jobs:  # a datastore that can't read its status finds it under each
            try:
                self._engine.datastore.read_with_cas(key)
            except CorruptDocument as error:
                self.unreadable.add(uuid, str(error))

    def _why_stuck(self, head: Document) -> tuple[Finding, str] | None:
        """Return the fault that keeps any code from running a job, and the reason in words."""
        try:
            check_head(make_key(head.get("uuid") or ""), head)
        except SchemaTooNew as error:
            return self.too_new, str(error)
        except (CorruptDocument, InvalidUuid) as error:
            return self.unreadable, str(error)
        try:
            self._engine.early_by(head)
        except CorruptDocument as error:
            return self.unfit, str(error)
        taken = self._crew.takes(head) if head["status"] in WAITING else None
        if taken and not self._is_as_new_as_workers(head["jobType"]):
            return None  # taken by code that this app doesn't have
        if head["format"] > FORMAT:
            return self.too_new, f"written in format {head['format']}; this code knows up to {FORMAT}"
        if head["jobType"] not in self._registry.get_registered_classes():
            known = ", ".join(sorted(self._registry.get_registered_classes())) or "none"
            return self.unknown_type, f"no class is registered for {head['jobType']!r}; known: {known}"
        if head["status"] in WAITING:
            try:
                self._registry.load_head(head)
            except Unsuitable as error:
                return (self.too_new if error.is_newer else self.unfit), str(error)
            if fields := self._registry.undeclared(head):
                self.undeclared.add(str(head["uuid"]), ", ".join(fields))
        if taken is False:
            self.untaken_queues.add(head["queueName"])
            kind = f"{head['jobType']!r} in version {head['schemaVersion']:g}"
            kind = f"{head['jobType']!r} in version {head['schemaVersion']:g}"
            return self.untaken, f"{kind}, on queue {head['queueName']}"
        return None

    def _is_as_new_as_workers(self, job_type: str) -> bool:
        """True if what this app can't load no worker can load either, as far as versions show."""
        own = dict(self._registry.versions()).get(job_type)
        return own is not None and own >= self._crew.newest_version(job_type)

    def _look_at_run(self, head: Document) -> None:
        owner, uuid = head["owner"], head["uuid"]
        lease = lease_of(owner)
        worker = owner["worker"]
        self.owners.add(worker)
        if worker not in self._silent:
            self._silent[worker] = self._watch.is_expired(worker, lease)
        if self._silent[worker]:
            self.leases.append(lease)
            self.silent.add(uuid, f"since {head.get('startedAt')}: worker {worker} gave no sign for {lease:g} s")
        elif self._crew.has_lost(head):
            self.lost.add(uuid, f"since {head['startedAt']}: worker {worker} does not list it")
        elif self._watch.record(worker) is None:
            self.leases.append(lease)
            self.unrecorded.add(uuid, f"worker {worker} has no record")
        elif head.get("cancelRequested") is not None:
            if self._since(head["cancelRequested"]) > CANCEL_GRACE:
                self.unstopped.add(uuid, f"worker {worker}, asked at {head['cancelRequested']}")
        elif is_stalled(head, self._engine.clock.now()):
            self.stalled.add(uuid, f"worker {worker}, last write at {head['updatedAt']}")

    def _since(self, timestamp: object) -> float:
        try:
            return seconds_between(str(timestamp), self._now)
        except ValueError:
            return 0.0
