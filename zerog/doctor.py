"""What is wrong with an app's jobs, workers and queues, in plain words, and what mends it.

Reads only; nothing is repaired here. Whether a worker is silent takes two looks a lease apart, so that a first
examination lists owners and a second one, ``watch`` seconds later, can tell.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from zerog.app import App
from zerog.clock import to_text
from zerog.document import (
    FORMAT,
    IN_QUEUE,
    PENDING,
    QUEUED,
    RUNNING,
    SCHEDULED,
    WAITING,
    Document,
    check_head,
    make_key,
)
from zerog.exceptions import CorruptDocument, InvalidUuid, ZerogError
from zerog.lifecycle import Unsuitable
from zerog.presence import worker_key
from zerog.watch import Watch, lease_of

PAGE = 500
"""Heads read at a time."""

LISTED = 100
"""Jobs named in one finding, at most; all are counted."""

DURABILITY = {
    "fsync": "what was answered survives a power cut",
    "1s": "a power cut may take the last second of what was answered",
    "process": "a power cut, or on memory:// the end of the process, may take what was answered",
    None: "nobody has said what survives a power cut",
}


@dataclass
class Finding:
    """Something that isn't as it should be."""

    what: str
    count: int
    mend: str
    """The command or act that mends it, or who does so by itself."""
    needs_person: bool
    jobs: dict[str, str] = field(default_factory=dict)
    """Some of the jobs it is about, and why for each."""

    def add(self, uuid: str, why: str) -> None:
        """Count one more job."""
        self.count += 1
        if len(self.jobs) < LISTED:
            self.jobs[uuid] = why


@dataclass
class Diagnosis:
    """All there is to say."""

    datastore: str
    durability: str | None
    durability_means: str
    jobs: dict[str, int]
    """Unfinished jobs by status."""
    queues: dict[str, dict[str, int | None]]
    """By name: entries on the queue (None: out of reach), and documents that say that they are on it."""
    workers: list[dict[str, Any]]
    findings: list[Finding]

    @property
    def needs_person(self) -> bool:
        """Whether anything here won't mend by itself."""
        return any(finding.needs_person for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {**asdict(self), "needs_person": self.needs_person}


class Doctor:
    """Examines one app. Keeps what it saw of the workers, so examine again with the same one after a lease."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._watch = Watch(app.datastore, app.clock)
        self._silent: set[str] = set()

    def examine(self, watch: float = 0) -> Diagnosis:
        """Look at everything once or, with ``watch``, again after so many seconds. Raises what the datastore raises."""
        if watch > 0:
            self._examine()
            self.app.clock.wait(threading.Event(), watch)
        return self._examine()

    def _examine(self) -> Diagnosis:
        store = self.app.datastore
        durability = store.durability
        diagnosis = Diagnosis(
            type(store).__name__, durability, DURABILITY.get(durability, DURABILITY[None]), {}, {}, [], []
        )
        if not store.can_find:
            diagnosis.findings.append(
                Finding(
                    "this datastore can't list jobs: what a crash or a queue loses is not found again",
                    0,
                    "use a datastore with find, for example sqlite:///jobs.db",
                    True,
                )
            )
            return diagnosis
        diagnosis.workers = self._workers()
        self._look_at_jobs(diagnosis)
        self._look_at_queues(diagnosis)
        diagnosis.findings = [finding for finding in diagnosis.findings if finding.count]
        self._look_for_workers(diagnosis)
        return diagnosis

    def _workers(self) -> list[dict[str, Any]]:
        workers = []
        for name, entry in sorted(self.app.engine.roster().items()):
            silent = self._watch.is_silent(name, lease_of(entry))
            record = self.app.datastore.read(worker_key(name)) or {}
            shown = {field: record.get(field) for field in ("host", "pid", "executor", "beat", "beatAt")}
            workers.append({"worker": name, "lease": lease_of(entry), "silent": silent, **shown})
        return workers

    def _look_at_jobs(self, diagnosis: Diagnosis) -> None:
        findings = _Findings(diagnosis)
        waiting: Counter[str] = Counter()
        silent: dict[str, bool] = {}
        for status in (QUEUED, SCHEDULED, RUNNING):
            for head in self._heads(status):
                diagnosis.jobs[status] = diagnosis.jobs.get(status, 0) + 1
                uuid = str(head.get("uuid"))
                if head.get("queueState") == IN_QUEUE and isinstance(head.get("queueName"), str):
                    waiting[head["queueName"]] += 1
                stuck = self._why_stuck(head)
                if stuck is not None:
                    findings.stuck[stuck[0]].add(uuid, stuck[1])
                elif status == RUNNING:
                    self._look_at_owner(head, silent, findings)
                elif head.get("queueState") == PENDING:
                    is_overdue = str(head.get("due") or "") <= to_text(self.app.clock.now())
                    (findings.pending if is_overdue else findings.fresh).add(uuid, f"since {head['updatedAt']}")
        diagnosis.queues = {name: {"documents": count, "entries": None} for name, count in sorted(waiting.items())}

    def _heads(self, status: str) -> Iterator[Document]:
        after = None
        while True:
            page = self.app.datastore.find(status=status, after=after, limit=PAGE)
            yield from page.heads
            after = page.after
            if after is None:
                return

    def _why_stuck(self, head: Document) -> tuple[str, str] | None:
        """The kind of trouble that keeps this code from ever running a job, and the reason in words."""
        try:
            check_head(make_key(head.get("uuid") or ""), head)
            self.app.engine.early_by(head)
        except (CorruptDocument, InvalidUuid) as error:
            return "corrupt", str(error)
        if head["format"] > FORMAT:
            return "too new", f"written in format {head['format']}; this code knows up to {FORMAT}"
        if head["jobType"] not in self.app.registry.get_registered_classes():
            known = ", ".join(sorted(self.app.registry.get_registered_classes())) or "none"
            return "unknown type", f"no class is registered for {head['jobType']!r}; known: {known}"
        if head["status"] in WAITING:
            try:
                self.app.registry.accept(head)
            except Unsuitable as error:
                return ("too new" if "schemaVersion" in str(error) else "corrupt"), str(error)
        return None

    def _look_at_owner(self, head: Document, silent: dict[str, bool], findings: _Findings) -> None:
        owner = head["owner"]
        worker = str(owner.get("worker")) if isinstance(owner, dict) else repr(owner)
        if worker not in silent:
            silent[worker] = self._watch.is_silent(worker, lease_of(owner))
        if silent[worker]:
            findings.silent.add(head["uuid"], f"worker {worker} gave no sign for {lease_of(owner):g} s")
        elif self.app.datastore.read(worker_key(worker)) is None:
            findings.unrecorded.add(head["uuid"], f"worker {worker} has no record")

    def _look_at_queues(self, diagnosis: Diagnosis) -> None:
        for name, counts in diagnosis.queues.items():
            try:
                size = counts["entries"] = self.app.engine.named(name).size()
            except ZerogError as error:
                diagnosis.findings.append(
                    Finding(f"queue {name} can't be reached: {error}", 1, "bring its server back", True)
                )
                continue
            missing = (counts["documents"] or 0) - size
            if missing > 0:
                diagnosis.findings.append(
                    Finding(
                        f"{missing} of {counts['documents']} jobs that wait on queue {name} are not on it",
                        missing,
                        "a running worker's reconcile puts them again once the queue has nothing to give",
                        False,
                    )
                )

    def _look_for_workers(self, diagnosis: Diagnosis) -> None:
        if sum(diagnosis.jobs.values()) and all(worker["silent"] for worker in diagnosis.workers):
            diagnosis.findings.append(
                Finding(
                    f"{sum(diagnosis.jobs.values())} jobs are unfinished and no worker is alive",
                    1,
                    "start one: zerog worker MODULE:APP",
                    True,
                )
            )


class _Findings:
    """The findings that jobs are sorted into."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.fresh = Finding("jobs are on their way to their queue", 0, "nothing to do", False)
        self.pending = Finding(
            "jobs are stored but never reached their queue", 0, "a running worker's reconcile puts them there", False
        )
        self.silent = Finding(
            "jobs have an owner that is silent",
            0,
            "a running worker's reconcile takes them back after the lease",
            False,
        )
        self.unrecorded = Finding(
            "jobs have an owner without a record; it may be dead", 0, "look again with --watch 35", False
        )
        self.stuck = {
            "corrupt": Finding(
                "documents make no sense and are left alone", 0, "mend or delete them in the datastore", True
            ),
            "too new": Finding(
                "jobs were written by newer code and are left alone", 0, "start workers with the newer code", True
            ),
            "unknown type": Finding(
                "jobs have a type that this app doesn't know", 0, "register their class: app.register(...)", True
            ),
        }
        all_of_them = [self.pending, self.silent, self.unrecorded, self.fresh, *self.stuck.values()]
        diagnosis.findings.extend(all_of_them)
