"""What one job's head shows: each unfinished job is sorted into the finding that says what is the matter with it."""

from __future__ import annotations

from collections import Counter

from zerog.app import App
from zerog.clock import seconds_between, text_after, to_text
from zerog.diagnosis import Finding, longer_than
from zerog.document import DOCUMENT_TYPE, FORMAT, IN_QUEUE, PENDING, RUNNING, WAITING, Document, check_head, make_key
from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.jobs.progress import STALLED_AFTER, is_stalled
from zerog.lifecycle import Unsuitable
from zerog.presence import worker_key
from zerog.reconcile import CANCEL_GRACE
from zerog.watch import Watch, lease_of

CLOCKS_APART = 60.0
"""Seconds that a timestamp may lie ahead of this machine's clock before one of the clocks is called wrong."""


class Symptoms:
    """Judges heads, one after the other."""

    def __init__(self, app: App, watch: Watch) -> None:
        self._app = app
        self._watch = watch
        self._now = to_text(app.clock.now())
        self._soon = text_after(self._now, CLOCKS_APART)
        self._silent: dict[str, bool] = {}
        self.owners: set[str] = set()
        """The workers that own something."""
        self.waiting: Counter[str] = Counter()
        """Jobs that wait, by queue."""
        self.in_queue: Counter[str] = Counter()
        """Jobs that say that they are on their queue, by queue."""
        self.leases = [0.0]
        """The leases of silent owners and of those without a record."""
        self.fresh = Finding("jobs are on their way to their queue", 0, "nothing to do", False)
        self.pending = Finding(
            "jobs are stored but never reached their queue", 0, "a running worker's reconcile puts them there", False
        )
        self.silent = Finding(
            "jobs have an owner that is silent", 0, "a running worker's reconcile takes them back", False
        )
        self.unrecorded = Finding(
            "jobs have an owner without a record; it may be dead", 0, "look again after its lease", False
        )
        self.unstopped = Finding(
            "jobs were cancelled and their owner does not stop them",
            0,
            "a running worker's reconcile takes them from it",
            False,
        )
        self.stalled = Finding(
            f"jobs run and have written nothing for {STALLED_AFTER / 60:.0f} minutes",
            0,
            "nothing, if they have such long steps; if they hang, cancel them, and have them tick",
            True,
        )
        self.unreadable = Finding(
            "documents make no sense and are left alone", 0, "mend or delete them in the datastore", True
        )
        self.unfit = Finding(
            "jobs hold values that make no sense and are left alone", 0, "mend their documents, or cancel them", True
        )
        self.too_new = Finding(
            "jobs were written by newer code and are left alone", 0, "start workers with the newer code", True
        )
        self.unknown_type = Finding(
            "jobs have a type that this app doesn't know",
            0,
            "register their class, app.register(...), or cancel them",
            True,
        )
        self.early = Finding(
            "jobs were written at a time that this machine's clock has not reached",
            0,
            "set the clocks of the machines that run workers; delays and due times are wrong until then",
            True,
        )

    def findings(self, target: str) -> list[Finding]:
        """All findings, with their commands for the app that is called ``target``."""
        after = f"--watch {longer_than(max(self.leases))}"
        self.pending.command = f"zerog reconcile {target}"
        self.silent.command = f"zerog reconcile {target} {after}"
        self.unrecorded.command = f"zerog doctor {target} {after}"
        self.unstopped.command = f"zerog reconcile {target} --watch {longer_than(CANCEL_GRACE)}"
        for finding in (self.stalled, self.unfit, self.unknown_type):
            finding.command_for_jobs(f"zerog jobs cancel {target}")
        return [
            self.pending,
            self.silent,
            self.unrecorded,
            self.unstopped,
            self.stalled,
            self.fresh,
            self.unreadable,
            self.unfit,
            self.too_new,
            self.unknown_type,
            self.early,
        ]

    def look(self, head: Document, status: str) -> None:
        """Sort one unfinished job in."""
        uuid = str(head.get("uuid"))
        name = head.get("queueName")
        if status in WAITING and isinstance(name, str):
            self.waiting[name] += 1
            self.in_queue[name] += head.get("queueState") == IN_QUEUE
        if str(head.get("updatedAt") or "") > self._soon:
            self.early.add(uuid, f"changed at {head['updatedAt']}, it is {self._now} here")
        stuck = self._why_stuck(head)
        if stuck is not None:
            stuck[0].add(uuid, stuck[1])
        elif status == RUNNING:
            self._look_at_run(head)
        elif head.get("queueState") == PENDING:
            is_overdue = str(head.get("due") or "") <= self._now
            (self.pending if is_overdue else self.fresh).add(uuid, f"since {head['updatedAt']}")

    def look_at_unreadable(self, key: str) -> None:
        """Sort in a document that no page could show."""
        uuid = key.removeprefix(f"{DOCUMENT_TYPE}_")
        if uuid not in self.unreadable.jobs:  # a datastore that can't read its status finds it under each
            try:
                self._app.datastore.read(key)
            except CorruptDocument as error:
                self.unreadable.add(uuid, str(error))

    def _why_stuck(self, head: Document) -> tuple[Finding, str] | None:
        """The trouble that keeps this code from ever running a job, and the reason in words."""
        try:
            check_head(make_key(head.get("uuid") or ""), head)
        except SchemaTooNew as error:
            return self.too_new, str(error)
        except (CorruptDocument, InvalidUuid) as error:
            return self.unreadable, str(error)
        try:
            self._app.engine.early_by(head)
        except CorruptDocument as error:
            return self.unfit, str(error)
        if head["format"] > FORMAT:
            return self.too_new, f"written in format {head['format']}; this code knows up to {FORMAT}"
        if head["jobType"] not in self._app.registry.get_registered_classes():
            known = ", ".join(sorted(self._app.registry.get_registered_classes())) or "none"
            return self.unknown_type, f"no class is registered for {head['jobType']!r}; known: {known}"
        if head["status"] in WAITING:
            try:
                self._app.registry.accept(head)
            except Unsuitable as error:
                return (self.too_new if "schemaVersion" in str(error) else self.unfit), str(error)
        return None

    def _look_at_run(self, head: Document) -> None:
        owner, uuid = head["owner"], head["uuid"]
        lease = lease_of(owner)
        worker = str(owner.get("worker")) if isinstance(owner, dict) else repr(owner)
        self.owners.add(worker)
        if worker not in self._silent:
            self._silent[worker] = self._watch.is_silent(worker, lease)
        if self._silent[worker]:
            self.leases.append(lease)
            self.silent.add(uuid, f"worker {worker} gave no sign for {lease:g} s")
        elif self._app.datastore.read(worker_key(worker)) is None:
            self.leases.append(lease)
            self.unrecorded.add(uuid, f"worker {worker} has no record")
        elif head.get("cancelRequested") is not None:
            if self._since(head["cancelRequested"]) > CANCEL_GRACE:
                self.unstopped.add(uuid, f"worker {worker}, cancelled at {head['cancelRequested']}")
        elif is_stalled(head, self._app.clock.now()):
            self.stalled.add(uuid, f"worker {worker}, last write at {head['updatedAt']}")

    def _since(self, timestamp: object) -> float:
        try:
            return seconds_between(str(timestamp), self._now)
        except ValueError:
            return 0.0
