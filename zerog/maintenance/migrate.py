"""The job behind ``zerog migrate``: lifts documents at a rate, and continues where a process before it was killed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from marshmallow import Schema, fields

from zerog.contracts.find import FindQuery
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import Declaration, declaration_of
from zerog.maintenance.lifting import FAILS, LIFTED, RUNS, lift, older_workers
from zerog.records.fields import NO_RESULT
from zerog.records.job import STATUSES

PAGE = 200
"""Documents between two writes of its progress."""

COUNTED = 100_000
"""Documents of a type and status that are counted for the progress."""

OLDER = 409
"""Result of a job that met an older worker."""


class Migrate(BaseJob):
    """Stores the documents of some types in the present versions of their classes."""

    JOB_TYPE = "zerog.migrate"
    TITLE = "Store documents in the present version of their class"
    RETAIN = timedelta(days=30)
    RETAIN_FAILED = timedelta(days=30)

    class Params(Schema):
        types = fields.List(fields.String(), required=True)
        rate = fields.Float(load_default=None)
        besideOlder = fields.Boolean(load_default=False)

    class State(Schema):
        place = fields.Integer(load_default=0)
        after = fields.String(load_default=None)
        read = fields.Integer(load_default=0)
        lifted = fields.Integer(load_default=0)
        leftRunning = fields.Integer(load_default=0)
        notReadable = fields.Integer(load_default=0)

    types: list[str]
    rate: float | None
    besideOlder: bool
    place: int
    after: str | None
    read: int
    lifted: int
    leftRunning: int
    notReadable: int

    def run(self) -> Any:
        """Lift page by page; each page's progress is stored with its end."""
        places = [(job_type, status) for job_type in self.types for status in STATUSES]
        store = self.app.datastore
        total = sum(store.count(FindQuery(status=status, job_type=name), COUNTED).number for name, status in places)
        while self.place < len(places):
            job_type, status = places[self.place]
            self._refuse_older(declaration_of(self.app.job_class(job_type)))
            page = store.find(FindQuery(status=status, job_type=job_type, after=self.after, limit=PAGE))
            for head in page.heads:
                self._lift(declaration_of(self.app.registry.class_for(head)), head)
                if self.stopping:
                    return NO_RESULT  # the page is read again: what is lifted already is left alone
            self.update_attrs(
                place=self.place + (page.after is None),
                after=page.after,
                completeness=min(self.read / max(total, 1), 1.0),
                **{name: getattr(self, name) for name in ("read", "lifted", "leftRunning", "notReadable")},
            )
        return {name: getattr(self, name) for name in ("read", "lifted", "leftRunning", "notReadable")}

    def _lift(self, declaration: Declaration, head: dict[str, Any]) -> None:
        self.read += 1
        if head.get("schemaVersion") == declaration.version:
            return
        outcome, reason = lift(self.app.datastore, declaration, str(head["uuid"]), self.app.clock)
        self.lifted += outcome == LIFTED
        self.leftRunning += outcome == RUNS
        self.notReadable += outcome == FAILS
        if outcome == FAILS:
            self.record_warning(reason, flush=False)
        left = 0.0 if self.rate is None else 1 / self.rate
        while left > 0 and not self.stopping:
            self.keep_alive()
            self.app.clock.pause(min(left, 1.0))
            left -= 1.0

    def _refuse_older(self, declaration: Declaration) -> None:
        """End the job if a living worker's code is older: it would leave what is lifted to others."""
        versions = {declaration.job_type: declaration.version}
        older = {} if self.besideOlder else older_workers(self.app.engine, versions)
        if older:
            self.raise_error_finish(OLDER, refusal(older))


def refusal(older: dict[str, str]) -> str:
    """Return the reason for which nothing is lifted beside older workers."""
    named = "; ".join(f"{name} takes {what} at most" for name, what in older.items())
    return f"older workers are alive, which couldn't run the jobs any more: {named}. Stop them first."
