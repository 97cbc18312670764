"""Store documents in the present version of their class, ahead of their next run; find migrations that none needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from zerog.contracts.datastore import Datastore
from zerog.contracts.find import FindQuery
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.fleet.fleet import Fleet
from zerog.fleet.heartbeat import WorkerRecords
from zerog.jobs.additions import upgrade
from zerog.jobs.declaration import Declaration
from zerog.records.commands import SILENT
from zerog.records.job import STATUSES, Document, check_head, make_key
from zerog.records.worker import read_workers
from zerog.support.clock import Clock
from zerog.support.texts import name_of

PAGE = 500
"""Heads read at a time."""

LIFTED, RUNS, FAILS, CURRENT = "lifted", "running", "failed", "current"
"""What becomes of a document: it is stored in the present version; a run has it, whose next write does that; its class
can't read it; there is nothing to do."""


class Lift(NamedTuple):
    """What became of one document."""

    outcome: str
    reason: str = ""
    """Why its class can't read it."""


def lift(datastore: Datastore, declaration: Declaration, uuid: str, clock: Clock, is_trial: bool = False) -> Lift:
    """Store a job's document in the present version, unless it runs; under CAS, so that no other write is lost.

    ``is_trial``: do everything but the write. Raises the datastore's errors, TooManyCollisions.
    """
    key = make_key(uuid)
    attempts = Attempts(datastore, key, clock)
    while True:
        head, token = datastore.read_with_cas(key, head=True)
        if head is None or head.get("schemaVersion") == declaration.version:
            return Lift(CURRENT)
        if head.get("owner") is not None:
            return Lift(RUNS)
        try:
            check_head(key, head)
            lifted = declaration.chain.lift(head)
            declaration.load(lifted)
            operations = upgrade(declaration, head, lifted)
        except (Exception, SystemExit) as error:  # a migration is the user's own code
            return Lift(FAILS, str(error) or name_of(type(error)))
        if is_trial:
            return Lift(LIFTED)
        with attempts:
            datastore.mutate(key, operations, cas=token)
            return Lift(LIFTED)


def heads_of(datastore: Datastore, job_type: str) -> Iterator[Document]:
    """Yield the heads of all jobs of a type, ended ones too. Raises the datastore's errors."""
    for status in STATUSES:
        after = None
        while True:
            page = datastore.find(FindQuery(status=status, job_type=job_type, after=after, limit=PAGE))
            yield from page.heads
            after = page.after
            if after is None:
                break


def older_workers(engine: Engine, versions: Mapping[str, float]) -> dict[str, str]:
    """Return the workers that aren't silent and take a type only up to a lower version, each with what it takes."""
    alive = {worker["name"] for worker in Fleet(engine).workers() if worker["state"] != SILENT}
    older = {}
    for name, record in read_workers(
        engine.datastore, sorted(alive & WorkerRecords(engine).directory().keys())
    ).items():
        known = dict((record.fields or {}).get("knows") or ())
        below = [f"{each} {known[each]}" for each in sorted(versions.keys() & known) if known[each] < versions[each]]
        if below:
            older[name] = ", ".join(below)
    return older


class Use(NamedTuple):
    """How many documents need one migration."""

    job_type: str
    start: float
    end: float
    documents: int
    unfinished: int
    """Those of them that haven't ended."""


def uses_of(declarations: Collection[Declaration], heads: Mapping[str, Counter[tuple[object, bool]]]) -> Iterator[Use]:
    """Yield each migration with the documents that need it; ``heads``: their numbers by version and whether ended."""
    for declaration in declarations:
        needed, unfinished = Counter[float](), Counter[float]()
        for (version, has_ended), number in heads[declaration.job_type].items():
            for step in declaration.chain.steps_from(version):
                needed[step.start] += number
                unfinished[step.start] += 0 if has_ended else number
        for start, end in declaration.chain.steps():
            yield Use(declaration.job_type, start, end, needed[start], unfinished[start])
