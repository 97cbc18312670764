"""An app with schedules over one of the engines, with a manual clock and leaders without workers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.engine.engines import KINDS
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.records.job import Document
from zerog.records.keys import schedule_key
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

START = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ALICE = WorkerIdentity("alice", 3600.0)


class Report(zerog.BaseJob):
    JOB_TYPE = "report"

    class Params(Schema):
        region = fields.String(load_default="all")
        token = fields.String(load_default="", metadata={"secret": True})

    def run(self) -> int:
        return 200


class Desk:
    """An app and what a leader does with its schedules."""

    def __init__(self, kind: str, folder: Path, start: datetime = START) -> None:
        self.clock = ManualClock(start)
        self.app = zerog.App("memory://", clock=self.clock)
        self.app.engine = KINDS[kind].open(folder, self.clock)
        self.app.register(Report)
        self.leader = self.app.schedules.leader()

    def declare(self, name: str = "s", cron: str | None = "* * * * *", build: str = "1", **options: Any) -> None:
        """Declare a schedule as a deploy of a build does: the worker started last stores it."""
        definition = self.app.schedule_definition(cron, options.pop("job_type", Report), **options)
        self.app.schedules.declared[name] = definition
        self.app.schedules.publish(f"worker-{build}", build)

    def lead(self, seconds: float = 0) -> float:
        """Let time pass, then let the leader take a turn."""
        self.clock.advance(seconds)
        return self.leader.turn()

    def jobs(self) -> list[str]:
        """Return the ticks of the jobs that are stored, in order."""
        documents = [self.app.datastore.read(f"zerog_job_{job['uuid']}") for job in self.app.jobs()]
        return sorted(document["headers"]["tick"] for document in documents if "tick" in document["headers"])

    def ticks(self, *minutes: int) -> list[str]:
        """Return the texts of the ticks so many minutes after the start of the year."""
        return [to_text(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)) for minute in minutes]

    def finish(self, code: int = 200) -> None:
        """Run the job that waits first, to its end."""
        [claim] = self.app.engine.claim(1, ALICE, self.app.registry.load_head)
        self.app.engine.settle([Settlement(claim, "finish", 1, code)])

    def start(self) -> None:
        """Claim the job that waits first."""
        assert len(self.app.engine.claim(1, ALICE, self.app.registry.load_head)) == 1

    def shown(self, name: str = "s") -> dict[str, Any]:
        return self.app.schedules.get(name)

    def stored(self, name: str = "s") -> Document:
        found: Document = self.app.datastore.read(schedule_key(name))
        return found

    def damage(self, changes: Mapping[str, Any], name: str = "s") -> None:
        """Overwrite fields of the stored schedule, as a tool may."""
        stored, token = self.app.datastore.read_with_cas(schedule_key(name))
        self.app.datastore.set_with_cas(schedule_key(name), {**stored, **changes}, token)
