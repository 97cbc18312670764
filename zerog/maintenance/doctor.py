"""Find what is wrong with an app's jobs, workers and queues, in plain words, with remedies.

Reads only; nothing is repaired here. It takes two reads a lease apart to find a silent worker, so a first examination
lists owners, and a second one, ``watch`` seconds later, can decide.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from zerog.contracts.datastore import FindQuery, Page
from zerog.contracts.find import Count
from zerog.contracts.queue import DEFAULT
from zerog.contracts.troubles import Trouble
from zerog.engine.engine import Engine
from zerog.exceptions import ZerogError
from zerog.fleet.crew import Crew
from zerog.fleet.fleet import Fleet
from zerog.fleet.heartbeat import WorkerRecords
from zerog.fleet.liveness import FailureDetector
from zerog.maintenance.entry_findings import missing_entries, refused_kinds
from zerog.maintenance.findings import Commands, Diagnosis, Finding, longer_than
from zerog.maintenance.fleet_findings import (
    about_types,
    few_descriptors,
    missing_sweeps,
    record_findings,
    two_schemas,
)
from zerog.maintenance.job_findings import CLOCKS_APART, JobFindings
from zerog.maintenance.paused_findings import paused_for_long
from zerog.maintenance.retention_findings import retention_findings
from zerog.records.job import QUEUED, RUNNING, SCHEDULED
from zerog.records.worker import Record, lease_of, read_workers
from zerog.support.clock import to_text
from zerog.support.texts import counted

if TYPE_CHECKING:
    from zerog.registry import JobRegistry

PAGE = 500
"""Heads read at a time."""

SAMPLE = 500
"""Waiting jobs of each status that are examined, unless all are: the first ones by their keys, which are the oldest,
and as many of those that should be on their queue by now."""

RUNNING_EXAMINED = 10_000
"""Running jobs that are examined, unless all are: there are as many as workers have slots."""

DURABILITY = {
    "fsync": "what was answered survives a power cut",
    "1s": "a power cut may take the last second of what was answered",
    "process": "a power cut, or on memory:// the end of the process, may take what was answered",
    None: "what survives a power cut is unknown",
}

RECORD = ("host", "pid", "executor", "queues", "beat", "renewedAt", "drain")
"""Fields of a worker's record that are shown."""


class Doctor:
    """Examines one app. Keeps its observations of the workers, so examine again with the same object after a lease.

    ``registry``: the types of the app. ``target``: its name on the command line, for commands that repair.
    """

    def __init__(self, engine: Engine, registry: JobRegistry, fleet: Fleet, target: str = "MODULE:APP") -> None:
        self.engine = engine
        self.registry = registry
        self.fleet = fleet
        self.zerog = Commands(target)
        self._records = WorkerRecords(engine)
        self._watch = FailureDetector(engine.datastore, engine.clock)
        self._beats: dict[str, Any] = {}

    def examine(self, watch: float = 0, examined: float = SAMPLE) -> Diagnosis:
        """Examine once or, with ``watch``, again after so many seconds. Raises the datastore's errors.

        ``examined``: waiting jobs of each status that are read, at most; ``math.inf`` for all jobs.
        """
        if watch > 0:
            self._examine(examined)
            self.engine.clock.wait(threading.Event(), watch)
        return self._examine(examined)

    def _examine(self, examined: float) -> Diagnosis:
        store = self.engine.datastore
        durability = store.durability
        means = DURABILITY.get(durability, DURABILITY[None])
        diagnosis = Diagnosis(self._versions(), type(store).__name__, durability, means)
        if not store.can_find:
            what = "this datastore can't list jobs: what a crash or a queue loses is not found again"
            mend = "use a datastore with find, for example sqlite:///jobs.db"
            diagnosis.findings.append(Finding(what, 1, mend, True))
            diagnosis.findings += retention_findings(self.engine, self.registry.kept(), self.zerog)
            return diagnosis
        records = self._workers()
        diagnosis.workers = self._shown(records)
        symptoms = self._look_at_jobs(diagnosis, records, examined)
        diagnosis.findings += [finding for finding in symptoms.findings(self.zerog) if finding.count]
        diagnosis.findings += self._look_at_queues(diagnosis, symptoms)
        diagnosis.findings += self._look_at_workers(diagnosis, symptoms)
        living = _living(diagnosis, records)
        diagnosis.findings += about_types(self.engine, self.fleet.types.held(), symptoms.held, self.zerog)
        diagnosis.findings += record_findings(self.engine, self.registry, records, living, self.zerog)
        diagnosis.findings += few_descriptors(records)
        diagnosis.findings += two_schemas(self.engine)
        if diagnosis.jobs:
            diagnosis.findings += missing_sweeps(self.engine, self.zerog)
        diagnosis.findings += retention_findings(self.engine, self.registry.kept(), self.zerog)
        diagnosis.findings += self._look_at_datastore()
        return diagnosis

    def _versions(self) -> dict[str, str]:
        versions = {"zerog": version("zerog"), "python": platform.python_version()}
        engine = self.engine.datastore.about()
        return {**versions, "datastore": engine} if engine else versions

    def _workers(self) -> dict[str, Record]:
        return read_workers(self.engine.datastore, sorted(self._records.directory()))

    def _shown(self, workers: dict[str, Record]) -> list[dict[str, Any]]:
        shown = []
        directory = self._records.directory()
        expired = self._watch.expired({name: lease_of(entry) for name, entry in directory.items()})
        for name, entry in directory.items():
            silent = expired[name]
            record = (workers[name].fields if name in workers else None) or {}
            alive = None if not silent and self._has_not_moved(name, record) else not silent
            fields = {field: record.get(field) for field in RECORD}
            shown.append({"worker": name, "lease": lease_of(entry), "silent": silent, "alive": alive, **fields})
        return sorted(shown, key=lambda worker: str(worker["worker"]))

    def _has_not_moved(self, worker: str, record: dict[str, Any]) -> bool:
        """True if the worker's record shows no beat since the first read of it, so that it may be alive or not."""
        return bool(self._beats.setdefault(worker, record.get("beat")) == record.get("beat"))

    def _look_at_jobs(self, diagnosis: Diagnosis, records: dict[str, Record], examined: float) -> JobFindings:
        crew = Crew(_living(diagnosis, records))
        symptoms = JobFindings(self.engine, self.registry, self._watch, crew, self.fleet.types.held())
        for status in (QUEUED, SCHEDULED, RUNNING):
            read, most = 0, max(examined, RUNNING_EXAMINED) if status == RUNNING else examined
            for page in self._pages(FindQuery(status, limit=int(min(PAGE, most)))):
                symptoms.look_at_page(page, status)
                read += len(page.heads)
                if page.after is not None and read >= most:
                    self._count(diagnosis, status, read)
                    break
            else:
                diagnosis.jobs |= {status: read} if read else {}
        if {QUEUED, SCHEDULED} & {*diagnosis.sampled}:
            self._look_beyond_sample(diagnosis, symptoms, crew, examined)
        return symptoms

    def _look_beyond_sample(self, diagnosis: Diagnosis, symptoms: JobFindings, crew: Crew, examined: float) -> None:
        """Find those faults of jobs outside the sample for which there is an index or a list."""
        read, now = 0, to_text(self.engine.now())
        for page in self._pages(FindQuery(due=now, limit=int(min(PAGE, examined)))):
            symptoms.look_at_page(page)
            read += len(page.heads)
            if read >= examined:
                break
        diagnosis.findings += refused_kinds(self.engine, crew, self.zerog)

    def _count(self, diagnosis: Diagnosis, status: str, read: int) -> None:
        """Note how many jobs of a status there are, and that only some of them were examined."""
        number, is_capped = self.engine.datastore.count(FindQuery(status=status))
        diagnosis.jobs[status] = max(number, read)
        diagnosis.capped += [status] * is_capped
        diagnosis.sampled.append(status)
        there = f"{Count(diagnosis.jobs[status], is_capped)} {status} jobs"
        what, all_of_them = f"{read:,} of {there} were examined", self.zerog("doctor", "--all")
        diagnosis.findings.append(Finding(what, 1, "examine all, which takes longer", False, command=all_of_them))

    def _pages(self, query: FindQuery) -> Iterator[Page]:
        after = None
        while True:
            page = self.engine.datastore.find(replace(query, after=after))
            yield page
            after = page.after
            if after is None:
                return

    def _look_at_queues(self, diagnosis: Diagnosis, symptoms: JobFindings) -> Iterator[Finding]:
        for name, pause in self.fleet.pauses(symptoms.waiting).items():
            documents = symptoms.in_queue[name]
            counts: dict[str, Any] = {"documents": documents, "entries": None, "paused": pause and pause.entry}
            diagnosis.queues[name] = counts
            try:
                size = counts["entries"] = self.engine.queue_named(name).size()
            except ZerogError as error:
                yield _unreachable(name, error)
                continue
            yield from missing_entries(self.engine, name, documents, size, symptoms.entries[name], self.zerog)
            waits = counted(symptoms.waiting[name], "job waits", "jobs wait")
            waiting = f"{'at least ' * bool(diagnosis.sampled)}{waits} on queue {name}"
            if pause is not None:
                command = self.zerog("queues resume", operands=[pause.name])
                since = pause.entry.get("since")
                what, is_long = f"{waiting}, which is paused since {since}", paused_for_long(self.engine, since)
                yield Finding(what, 1, "resume it in its time", is_long, command=command)
            else:
                yield from self._unserved(name, waiting, symptoms.waiting[name], diagnosis)
        if self.engine.queue.name not in diagnosis.queues:
            try:
                self.engine.queue.size()
            except ZerogError as error:
                yield _unreachable(self.engine.queue.name, error)

    def _unserved(self, name: str, waiting: str, count: int, diagnosis: Diagnosis) -> Iterator[Finding]:
        """Find a queue without consumers, unless no worker is alive at all, or one doesn't list its queues."""
        alive = [worker for worker in diagnosis.workers if not worker["silent"]]
        if not alive or not all(isinstance(worker["queues"], list) for worker in alive):
            return
        serving = [worker for worker in alive if name in map(str, worker["queues"])]
        if not serving:
            command = self.zerog("worker", "--queues", name)
            yield Finding(
                f"{waiting}, which no worker serves", count, "start a worker that does", True, command=command
            )
        elif all(worker["drain"] for worker in serving):
            command = self.zerog("workers undrain", operands=[serving[0]["worker"]])
            what = f"{waiting}, whose workers are all drained"
            yield Finding(what, count, "let one claim again, or start another one", True, command=command)

    def _look_at_workers(self, diagnosis: Diagnosis, symptoms: JobFindings) -> Iterator[Finding]:
        unfinished = sum(diagnosis.jobs.values())
        if unfinished and all(worker["silent"] for worker in diagnosis.workers):
            queues = ",".join(sorted(symptoms.waiting)) or DEFAULT
            command = self.zerog("worker", *(["--queues", queues] if queues != DEFAULT else []))
            what = f"{counted(unfinished, 'job is', 'jobs are')} unfinished and no worker is alive"
            yield Finding(what, 1, "start one", True, command=command)
        waiting = sum(symptoms.waiting.values())
        unsure = [each for each in diagnosis.workers if each["alive"] is None]
        if waiting and unsure and not any(worker["alive"] for worker in diagnosis.workers):
            longest = max(each["lease"] for each in unsure)
            command = self.zerog("doctor", "--watch", str(longer_than(longest)))
            waits = counted(waiting, "job waits", "jobs wait")
            what = f"{waits}, and after one look it is unknown whether a worker is alive"
            yield Finding(what, 1, "look again after a lease", False, command=command)
        gone = [each for each in diagnosis.workers if each["silent"] and each["worker"] not in symptoms.owners]
        if gone:
            named = ", ".join(worker["worker"] for worker in gone)
            longest = max(worker["lease"] for worker in gone)
            command = self.zerog("reconcile", "--watch", str(longer_than(longest)))
            mend = "a running worker's reconcile removes it"
            yield Finding(f"the record of a dead worker is left: {named}", len(gone), mend, False, command=command)

    def _troubles_of_queue(self) -> Sequence[Trouble]:
        try:
            return self.engine.queue.troubles()
        except ZerogError:
            return []  # _look_at_queues reports a queue that can't be reached

    def _look_at_datastore(self) -> Iterator[Finding]:
        store = self.engine.datastore
        if store.shared and store.durability in ("process", None):
            named = store.durability or "unknown"
            what = f"a power cut may take what was answered: the datastore's durability is {named}"
            mend = "a setting of the datastore; for sqlite:// leave ?synchronous=normal out"
            yield Finding(what, 1, mend, False)
        for what, mend, command in dict.fromkeys([*store.troubles(), *self._troubles_of_queue()]):  # may be one file
            yield Finding(what, 1, mend, True, command=command)
        server = store.now()
        apart = 0.0 if server is None else abs((server - self.engine.clock.now()).total_seconds())
        if apart > CLOCKS_APART:
            what = f"this machine's clock and the datastore's are {apart:.0f} s apart"
            yield Finding(
                what,
                1,
                "set the clocks; delays go by the datastore's, what runs note by this one",
                True,
            )


def _living(diagnosis: Diagnosis, records: dict[str, Record]) -> dict[str, dict[str, Any]]:
    """Return the records of the workers that are not known to be silent."""
    silent = {worker["worker"] for worker in diagnosis.workers if worker["silent"]}
    return {name: record.fields for name, record in records.items() if record.fields and name not in silent}


def _unreachable(queue: str, error: ZerogError) -> Finding:
    return Finding(f"queue {queue} can't be reached: {error}", 1, "bring its server back", True)
