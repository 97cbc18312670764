"""Old and new code of one application on one queue, each killed in turns, on every engine. Real processes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance.harness import Workers
from tests.acceptance.test_mixed_code import NEW, OLD, client
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for as redis_url_for
from tests.preloaded import StartedProgram
from zerog.records.job import make_key

WHERE: dict[str, Any] = {
    "sqlite": lambda folder: {},
    "redis": lambda folder: {"url": redis_url_for(folder)},
    "postgres": lambda folder: {"url": postgres_url_for(folder)},
    "generic pair": lambda folder: {"queue": redis_url_for(folder)},
}

COUNTS = ("errorCount", "crashes")
"""Counters that no kill of a worker and no refusal may raise."""


class Fleet:
    """Workers of both versions, and clients that submit."""

    def __init__(self, workers: Workers, queue: str | None) -> None:
        self.workers = workers
        self.running: dict[Path, list[StartedProgram]] = {OLD: [], NEW: []}
        self._queue = queue

    def app(self, code: Path) -> zerog.App:
        """The app of a version, over the parts of this fleet."""
        made = client(self.workers, code)
        if self._queue is None:
            return made
        apart = zerog.App(datastore=self.workers.url, queue=self._queue)
        apart.register(*made.registry.get_registered_classes().values())
        return apart

    def start(self, code: Path) -> None:
        self.running[code].append(self.workers.start(code=code))

    def replace(self, code: Path) -> None:
        """Kill a worker, as the system does that is out of memory, and start another one."""
        self.workers.kill(self.running[code].pop(0))
        self.start(code)


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    where = WHERE[request.param](tmp_path)
    options = ("--lease", "3", "--concurrency", "4", "--log-level", "WARNING")
    with Workers(tmp_path, *options, module=None, **where) as workers:
        yield Fleet(workers, where.get("queue"))


def submitted(fleet: Fleet, number: int) -> dict[str, list[str]]:
    """Jobs of both clients, by what they are; a sixth of ``number`` each."""
    old, new, some = fleet.app(OLD), fleet.app(NEW), number // 6
    return {
        "order 1.0": old.submit_many("order", [{"amount": 2.5}] * some),
        "order 2.0": new.submit_many("order", [{"cents": 250}] * some),
        "letter": old.submit_many("letter", [{"text": "a"}] * some) + new.submit_many("letter", [{"text": "b"}] * some),
        "stamped": new.submit_many("letter", [{"text": "c", "stamp": {"value": 1}}] * some),
        "parcel": new.submit_many("parcel", [{}] * some),
    }


def documents(fleet: Fleet, uuids: list[str]) -> list[dict[str, Any]]:
    return [fleet.workers.app.datastore.read(make_key(uuid)) for uuid in uuids]


def waited(fleet: Fleet, uuids: list[str]) -> list[dict[str, Any]]:
    """Jobs as they wait, but for the place of their entry."""
    return [{**document, "queueJobId": None, "updatedAt": None} for document in documents(fleet, uuids)]


SMALL, FULL = (30, 2), (2_000, 8)
"""Numbers of jobs and of kills."""


@pytest.mark.parametrize(
    ("fleet", "number", "kills"),
    [
        pytest.param("sqlite", *SMALL, id="sqlite"),
        *(pytest.param(kind, *SMALL, id=kind, marks=pytest.mark.wide) for kind in WHERE if kind != "sqlite"),
        *(pytest.param(kind, *FULL, id=f"{kind}, full", marks=pytest.mark.slow) for kind in ("sqlite", "redis")),
        *(
            pytest.param(kind, *FULL, id=f"{kind}, full", marks=pytest.mark.long)
            for kind in ("postgres", "generic pair")
        ),
    ],
    indirect=["fleet"],
)
def test_both_versions_on_one_queue(fleet: Fleet, number: int, kills: int) -> None:
    """Old code never touches what it doesn't know, with kills; beside new code all ends, and nothing is counted."""
    workers = fleet.workers
    jobs = submitted(fleet, number)
    total = sum(map(len, jobs.values()))
    foreign = jobs["order 2.0"] + jobs["parcel"]
    before, newer = waited(fleet, foreign), documents(fleet, jobs["order 2.0"])
    fleet.start(OLD)
    for kill in range(kills // 2):
        least = (kill + 1) * (total - len(foreign)) // kills
        workers.until(lambda least=least: workers.counts()["succeeded"] >= least, 120)
        fleet.replace(OLD)
    workers.until(lambda: workers.counts()["succeeded"] == total - len(foreign), 240)
    assert waited(fleet, foreign) == before
    assert documents(fleet, jobs["order 2.0"]) == newer
    more = submitted(fleet, number)
    total += sum(map(len, more.values()))
    fleet.start(NEW)
    for kill, code in zip(range(kills), cycle((NEW, OLD)), strict=False):
        workers.until(lambda least=total // 2 + kill: workers.counts()["succeeded"] >= least, 240)
        fleet.replace(code)
    counts = workers.until_ended(total, 240)
    assert {status: count for status, count in counts.items() if count} == {"succeeded": total}
    for kind in jobs:
        for document in documents(fleet, jobs[kind] + more[kind]):
            assert document["attempts"] == 1 + document["lost"]
            assert [document[name] for name in COUNTS] == [0, 0]
            by = document["output"]["by"]
            assert by == "new" if kind in ("order 2.0", "parcel") else by in ("old", "new")
            if kind == "stamped":
                assert document["stamp"] == {"value": 1}
    assert {document["output"]["by"] for document in documents(fleet, jobs["order 1.0"])} == {"old"}
