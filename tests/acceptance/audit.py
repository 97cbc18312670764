"""The database's own record of every job: each change of status or epoch, written by triggers in the file.

It is independent of the workers, and shows what the final documents can't: a second settlement of one run, a claim
that was made twice, a terminal state that was left for a moment.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import NamedTuple

import zerog
from zerog.records.job import RUNNING, TERMINAL

TRIGGERS = """
CREATE TABLE audit (n INTEGER PRIMARY KEY, key, old_status, old_epoch, status, epoch, attempts, pause, owner);
CREATE TABLE audit_writes (n INTEGER PRIMARY KEY, what);
CREATE TRIGGER audit_change AFTER UPDATE ON zerog_documents
    WHEN NEW.key GLOB 'zerog_job_*' AND (OLD.status IS NOT NEW.status OR OLD.epoch IS NOT NEW.epoch)
    BEGIN INSERT INTO audit (key, old_status, old_epoch, status, epoch, attempts, pause, owner)
    VALUES (NEW.key, OLD.status, OLD.epoch, NEW.status, NEW.epoch, NEW.attempts,
    (julianday(NEW.notBefore) - julianday(NEW.updatedAt)) * 86400, NEW.owner); END;
CREATE TRIGGER audit_document AFTER UPDATE ON zerog_documents WHEN NEW.key GLOB 'zerog_job_*'
    BEGIN INSERT INTO audit_writes (what) VALUES ('document'); END;
CREATE TRIGGER audit_put AFTER INSERT ON zerog_queue
    BEGIN INSERT INTO audit_writes (what) VALUES ('put'); END;
CREATE TRIGGER audit_take AFTER DELETE ON zerog_queue
    BEGIN INSERT INTO audit_writes (what) VALUES ('take'); END;
CREATE TRIGGER audit_delay AFTER UPDATE ON zerog_queue
    BEGIN INSERT INTO audit_writes (what) VALUES ('delay'); END;
CREATE TRIGGER audit_history AFTER INSERT ON zerog_history
    BEGIN INSERT INTO audit_writes (what) VALUES ('history'); END
"""


class Change(NamedTuple):
    """One write that changed a job's status or epoch."""

    old_status: str
    old_epoch: int
    status: str
    epoch: int
    attempts: int
    pause: float | None
    """Seconds until the job may run again, if it has to wait."""
    worker: str | None
    """The owner of the job from then on."""


class Audit:
    """Watches the SQLite file of an app from now on."""

    def __init__(self, app: zerog.App) -> None:
        self._file = app.datastore.file
        with self._file.reading() as sqlite:
            sqlite.executescript(TRIGGERS)

    def changes(self) -> dict[str, list[Change]]:
        """The changes of each job that had any, by its key, in order."""
        found: dict[str, list[Change]] = defaultdict(list)
        with self._file.reading() as sqlite:
            for key, *change in sqlite.execute(
                "SELECT key, old_status, old_epoch, status, epoch, attempts, pause, owner FROM audit ORDER BY n"
            ):
                owner = json.loads(change.pop())
                found[key].append(Change(*change, owner and owner["worker"]))
        return found

    def writes(self) -> Counter[str]:
        """How often documents were changed, history was added, and entries were put, delayed and taken."""
        with self._file.reading() as sqlite:
            return Counter(dict(sqlite.execute("SELECT what, count(*) FROM audit_writes GROUP BY what")))

    def violations(self) -> list[str]:
        """Claims and ends that there must never be."""
        return [f"{key}: {wrong}" for key, changes in self.changes().items() for wrong in _wrong(changes)]


def _wrong(changes: list[Change]) -> list[str]:
    wrong = []
    epoch = changes[0].old_epoch
    claimed: set[int] = set()
    settled: set[int] = set()
    for change in changes:
        if change.old_status in TERMINAL:
            wrong.append(f"left its end: {change}")
        if change.epoch < epoch or change.old_epoch != epoch:
            wrong.append(f"the epoch went back, or a state was overwritten before it was seen: {change}")
        epoch = change.epoch
        if change.status == RUNNING:
            if change.epoch in claimed or change.epoch != change.old_epoch + 1:
                wrong.append(f"claimed twice under one epoch: {change}")
            claimed.add(change.epoch)
        elif change.old_status == RUNNING:
            if change.old_epoch in settled:
                wrong.append(f"one run ended twice: {change}")
            settled.add(change.old_epoch)
    return wrong
