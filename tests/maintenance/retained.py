"""Jobs that have ended, and the sweeps that remove them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import zerog
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document
from zerog.registry import JobRegistry
from zerog.support.clock import to_text

ALICE = WorkerIdentity("alice", 30.0)


DAY = 86_400.0


class Short(zerog.BaseJob):
    """Kept for a day; a week if it failed."""

    JOB_TYPE = "short"
    SCHEMA_VERSION = "2.0"
    RETAIN = timedelta(days=1)
    RETAIN_FAILED = 7 * DAY

    def run(self) -> Any:
        return 200


class Long(zerog.BaseJob):
    """Kept for ever."""

    JOB_TYPE = "long"

    def run(self) -> Any:
        return 200


def sweeper(engine: Engine, registry: JobRegistry, name: str = "sweeper") -> Reconciler:
    return Reconciler(engine, name, engine.clock, kept=registry.kept)


def ended(engine: Engine, code: int = 200, job_class: type[zerog.BaseJob] = Short, number: int = 1) -> list[str]:
    now = to_text(engine.clock.now())
    version = float(job_class.SCHEMA_VERSION)
    documents = [new_document(job_class.JOB_TYPE, version, now) for _ in range(number)]
    engine.submit(documents)
    if code == 410:
        for document in documents:
            engine.cancel(document["uuid"])
        return [document["uuid"] for document in documents]
    claims = engine.claim(number, ALICE, lambda head: head["jobType"])
    assert all(engine.settle([Settlement(claim, "finish", 1, code) for claim in claims]))
    return [claim.uuid for claim in claims]


def stored(engine: Engine, uuids: list[str]) -> list[bool]:
    return [engine.datastore.read(make_key(uuid)) is not None for uuid in uuids]
