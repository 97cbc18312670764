"""Copy an installation from one datastore to another: every job with its history, and the engine's own documents.

The order of the writes makes a copy safe to break off at any point, and to call again:

1. Note at the source where it is copied to, and pause all its queues: a worker that is started there by mistake claims
   nothing. Note the same at the target, and pause its queues, too.
2. Store each job there that isn't there, replace what an earlier try has stored and the source has changed since.
3. Compare all of them by their hashes; copy again what has changed meanwhile, until nothing has.
4. Open the queues of the target. Only then may a job run there, so until then what differs there is older. From then
   on what differs there is left alone.

A waiting job is stored as one that is to be put on a queue: the sweep of the target's first worker does that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import Datastore, FindQuery
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import CopyRefused, CorruptDocument, InvalidValue
from zerog.fleet.fleet import Fleet
from zerog.maintenance.copied import (
    AHEAD,
    BEGUN,
    COPIED,
    DIFFERS,
    GONE,
    REFUSED,
    REMOVED,
    REPLACED,
    SAME,
    SHORTENED,
    SHOWN,
    UNREADABLE,
    Report,
    Sum,
    age,
    as_copied,
    fingerprint,
    is_fence,
    listed,
    pages,
    readable,
)
from zerog.records.commands import ALL, DRAINED, SILENT, paused_in
from zerog.records.job import RUNNING, STATUSES, Document, make_key
from zerog.records.keys import COPIED_FROM, COPIED_TO, QUEUES, keys_of_job, stored_keys
from zerog.records.room import drop_oldest
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock, to_text
from zerog.support.texts import counted

log = logging.getLogger("zerog")

THREADS = 4
"""Documents that are read and written at once."""

PASSES = 5
"""Comparisons after which a source that still changes is refused."""

COUNTED = 10**9
"""Jobs that are counted, at most."""

Noted = Callable[[str, int, int], None]
"""Called with what is done, how many jobs of it are and how many there are."""


class Copy:
    """A copy from one datastore to another. ``here`` and ``there`` name the two in messages, without secrets."""

    def __init__(
        self,
        source: Datastore,
        target: Datastore,
        here: str,
        there: str,
        clock: Clock = SYSTEM,
        without_unreadable: bool = False,
        noted: Noted = lambda what, done, total: None,
    ) -> None:
        self.source, self.target, self.here, self.there = source, target, here, there
        self.clock = clock
        self.report = Report()
        self._allowed = (UNREADABLE,) if without_unreadable else ()
        self._noted = noted
        self._records: set[str] = set()
        self._before: Document = {}
        self._total = 0

    def check(self) -> Report:
        """Count what would be copied; write nothing. Raises CopyRefused, and the errors of both datastores."""
        for store, name in ((self.source, self.here), (self.target, self.there)):
            if not store.can_find or not store.can_find_ended:
                raise CopyRefused(
                    f"{name} can't list its jobs, so they can't be copied or compared. Nothing was copied."
                )
        self._check_workers()
        self.report.jobs = {
            status: number
            for status in STATUSES
            if (number := self.source.count(FindQuery(status=status), COUNTED).number)
        }
        self._total = sum(self.report.jobs.values())
        note_here, note_there = self.source.read(COPIED_TO) or {}, self.target.read(COPIED_FROM) or {}
        is_same = note_here.get("id") is not None and note_here.get("id") == note_there.get("id")
        self._before = note_there if is_same else {}
        if not is_same:
            self._check_target()
        return self.report

    def run(self) -> Report:
        """Copy what is missing, compare all, and open the target. Raises CopyRefused, and the errors of both.

        Whatever it raises, it may be called again, by a new process too, and goes on. ``finished`` of the report is
        False if documents are left that a person has to look at; then the target's queues stay paused.
        """
        self.check()
        note = {
            "id": self._before.get("id") or str(uuid4()),
            "startedAt": self._before.get("startedAt") or self._now(),
            "since": self._before.get("since"),
        }
        self._close(note)
        self._copy_records()
        self._noted("copied", 0, self._total)
        for _results in self._in_steps("copied", self._copy):
            pass
        digest, since = self._compare()
        self.report.digest, self.report.verified = str(digest), digest.count
        self._check_listed()
        if self.report.undone(self._allowed):
            return self.report
        self._open({**note, "since": since, "jobs": digest.count, "digest": str(digest)})
        self.report.records = len(self._records)
        self.report.finished = True
        return self.report

    # before

    def _check_workers(self) -> None:
        living = [
            f"{worker['name']} ({worker['state']})"
            for worker in Fleet(Engine(self.source, MemoryQueue())).workers()
            if worker["state"] not in (SILENT, DRAINED)
        ]
        if living:
            raise CopyRefused(
                f"{listed(living)} {'is' if len(living) == 1 else 'are'} alive at {self.here} and would go on there. "
                "Stop all workers, or drain them (zerog workers drain APP --all). Nothing was copied."
            )
        running = [str(head.get("uuid")) for head in self.source.find(FindQuery(status=RUNNING, limit=SHOWN + 1)).heads]
        if running:
            raise CopyRefused(
                f"at {self.here} {'a job runs' if len(running) == 1 else 'jobs run'}: {listed(running)}. Wait until "
                "their workers are drained; those of a dead worker are given back by zerog reconcile APP --watch 35. "
                "Nothing was copied."
            )

    def _check_target(self) -> None:
        """Refuse a target with jobs that aren't the source's."""
        for heads in pages(self.target):
            there, _ = self.source.read_heads([make_key(head["uuid"]) for head in heads])
            others = []
            for head in heads:
                key = make_key(head["uuid"])
                if key not in there or fingerprint(readable(self.source, key)) != fingerprint(
                    readable(self.target, key)
                ):
                    others.append(head["uuid"])
            if others:
                raise CopyRefused(
                    f"{self.there} has other jobs than {self.here}: {listed(others)}. Copy to an empty place. "
                    "Nothing was copied."
                )

    def _close(self, note: Document) -> None:
        """Note the copy at both places, and pause their queues; those of a target that is in use stay open."""
        self.target.setup()
        before = self.source.read(COPIED_TO)
        self.source.set(COPIED_TO, {"documentType": COPIED_TO, "to": self.there, **note})
        if (self.target.read(COPIED_TO) or {}).get("id") == note["id"]:
            self.source.set(COPIED_TO, before or {"documentType": COPIED_TO})
            raise CopyRefused(f"{self.here} and {self.there} are the same place. Nothing was copied.")
        self._change_pauses(self.source, self._fence(f"copied to {self.there}", note["id"]))
        if not self._is_in_use:
            self.target.set(COPIED_FROM, {"documentType": COPIED_FROM, "from": self.here, **note})
            self._change_pauses(self.target, self._fence(f"the copy from {self.here} is not finished", note["id"]))

    @property
    def _is_in_use(self) -> bool:
        """True if an earlier copy to the target was finished, so that its jobs may have run there."""
        return bool(self._before.get("finishedAt"))

    def _fence(self, reason: str, number: str) -> Callable[[Document], Document]:
        entry = {"since": self._now(), "by": "zerog copy", "reason": reason, "copy": number}
        return lambda paused: {**paused, ALL: paused.get(ALL) or entry}

    def _change_pauses(self, store: Datastore, change: Callable[[Document], Document]) -> None:
        attempts = Attempts(store, QUEUES, self.clock)
        while True:
            record, token = store.read_with_cas(QUEUES)
            changed = {**(record or {}), "documentType": QUEUES, "paused": change(paused_in(record))}
            with attempts:
                store.set_with_cas(QUEUES, changed, token or 0)
                return

    # the engine's documents

    def _copy_records(self) -> None:
        for key in stored_keys(self.source.read):
            self._copy_record(key)

    def _copy_record(self, key: str) -> None:
        """Copy a document of the engine; one that is in use at the target stays. The queues' is merged at the end."""
        if key == QUEUES:
            return
        document = self.source.read(key)
        if document is None:
            return
        self._records.add(key)
        if not self._is_in_use:
            self.target.set(key, document)
        elif self.target.read(key) is None:
            self.target.create(key, document)

    # jobs

    def _in_steps(self, what: str, step: Callable[[str], tuple[str, str, Any]]) -> Iterator[list[tuple[str, str, Any]]]:
        """Take a step for each job of the source; yield and note the results of each page."""
        done = 0
        with ThreadPoolExecutor(THREADS, "zerog-copy") as pool:
            for heads in pages(self.source, self._unreadable):
                keys = [make_key(head["uuid"]) for head in heads]
                results = [*pool.map(step, keys)]
                for key, (result, why, _) in zip(keys, results, strict=True):
                    if result:
                        self.report.note(key, result, why)
                done += len(heads)
                self._noted(what, done, max(done, self._total))
                yield results

    def _unreadable(self, key: str) -> None:
        """Note the reason why a document that ``find`` leaves out can't be read."""
        error = self.source.read_heads([key]).unreadable.get(key)
        why = f"{key} can't be read" if error is None else str(error)
        if key not in self.report.named.get(UNREADABLE, {}):
            self.report.note(key, UNREADABLE, why)

    def _copy(self, key: str) -> tuple[str, str, Any]:
        try:
            document = self.source.read(key)
        except CorruptDocument as error:
            return UNREADABLE, str(error), None
        if document is None:
            return GONE, "", None
        if document.get("status") == RUNNING:
            return BEGUN, "it began to run while it was copied; drain that worker and copy again", None
        for record in keys_of_job(document):
            self._copy_record(record)
        if self._is_in_use and str(document.get("createdAt") or "") < str(self._before.get("since") or ""):
            return *self._look(key, document), None
        return *self._store(key, as_copied(document, self._now())), None

    def _look(self, key: str, document: Document) -> tuple[str, str]:
        """Return how a job that a finished copy has copied is doing at the target; write nothing."""
        there = self.target.read(key)
        if there is None:
            return REMOVED, "it was removed there since it was copied"
        return self._compared(document, there)

    def _compared(self, document: Document, there: Document) -> tuple[str, str]:
        if fingerprint(document) == fingerprint(there):
            return SAME, ""
        if age(there) > age(document):
            return AHEAD, ""
        return DIFFERS, f"it was changed at {self.here} after it was copied; decide which one is right"

    def _store(self, key: str, document: Document) -> tuple[str, str]:
        """Store a job at the target, unless it is there; return the result, and the reason if it needs one."""
        attempts = Attempts(self.target, key, self.clock)
        while True:
            try:
                there, token = (
                    self.target.read_with_cas(key) if attempts.refused + attempts.unanswered else (None, None)
                )
                if there is not None and token is not None:
                    if fingerprint(there) == fingerprint(document):
                        return (COPIED if attempts.unanswered else SAME), ""
                    if self._is_in_use:
                        return self._compared(document, there)
                with attempts:
                    if token is not None:
                        self.target.set_with_cas(key, document, token)
                        return REPLACED, ""
                    self.target.create(key, document)
                    return COPIED, ""
            except CorruptDocument as error:
                return REFUSED, f"what {self.there} has under this key can't be read: {error}"
            except InvalidValue as error:
                return self._store_large(key, document, error)

    def _store_large(self, key: str, document: Document, error: InvalidValue) -> tuple[str, str]:
        """Store a job that is larger than a new one may be, if need be without its oldest history."""
        shortened = jsonvalues.copy(document)
        dropped = False
        while True:
            try:
                token = self.target.read_with_cas(key)[1]
                # Without a status it is no job yet, so nothing touches it.
                token = token or self.target.create(key, {"documentType": document.get("documentType")})
                self.target.set_with_cas(key, shortened, token)
                return (SHORTENED, "its oldest history didn't fit there and was left out") if dropped else (COPIED, "")
            except InvalidValue as refused:
                error = refused
            excess = max(1, jsonvalues.size(shortened) - jsonvalues.MAX_BYTES)
            if not drop_oldest(shortened, excess, (), {}):
                return REFUSED, str(error)
            dropped = True

    # after

    def _compare(self) -> tuple[Sum, str]:
        """Compare all jobs by their hashes, and copy again those that differ, until none does.

        Returns the sum of the hashes, and when the last comparison began: jobs made before that are all there.
        """
        for _ in range(PASSES):
            since, digest, changed = self._now(), Sum(), 0
            for results in self._in_steps("compared", self._check_copy):
                for result, _why, found in results:
                    changed += result in (COPIED, REPLACED)
                    if found is not None:
                        digest.add(*found)
            if not changed:
                return digest, since
        raise CopyRefused(
            f"jobs at {self.here} still change after {PASSES} comparisons. Stop what submits and changes jobs there; "
            "copying again goes on from here."
        )

    def _check_copy(self, key: str) -> tuple[str, str, Any]:
        known = self.report.named
        if any(key in known.get(result, ()) for result in (DIFFERS, BEGUN, UNREADABLE, REFUSED, REMOVED)):
            return "", "", None
        try:
            document, there = self.source.read(key), self.target.read(key)
        except CorruptDocument as error:
            return UNREADABLE, str(error), None
        if document is None:
            return "", "", None
        digest = fingerprint(document)
        if key in known.get(SHORTENED, ()):
            return "", "", None
        if there is not None and digest == fingerprint(there):
            return "", "", (key, digest)
        if there is not None and self._is_in_use and age(there) > age(document):
            return "", "", None
        return self._copy(key)

    def _check_listed(self) -> None:
        """Refuse a target that lists fewer jobs than it was given: a sweep wouldn't find them."""
        listed_there = sum(self.target.count(FindQuery(status=status), COUNTED).number for status in STATUSES)
        if listed_there < self.report.verified:
            raise CopyRefused(
                f"{self.there} lists {listed_there:,} jobs, but {self.report.verified:,} are stored there: its indexes "
                "are not complete. Run zerog setup there, then copy again."
            )

    def _open(self, note: Document) -> None:
        """Let workers claim at the target, with the pauses of the source; note at both places that all is there."""
        if not self._is_in_use:
            ours = paused_in(self.source.read(QUEUES))
            pauses = {name: entry for name, entry in ours.items() if not is_fence(name, entry)}
            self._change_pauses(
                self.target,
                lambda paused: {**pauses, **{k: v for k, v in paused.items() if not is_fence(k, v)}},
            )
            self._records |= {QUEUES} if pauses else set()
        note = {**note, "finishedAt": self._now()}
        self.target.set(COPIED_FROM, {"documentType": COPIED_FROM, "from": self.here, **note})
        self.source.set(COPIED_TO, {"documentType": COPIED_TO, "to": self.there, **note})
        log.info("%s copied from %s to %s", counted(note["jobs"], "job was", "jobs were"), self.here, self.there)

    def _now(self) -> str:
        return to_text(self.source.now() or self.clock.now())
