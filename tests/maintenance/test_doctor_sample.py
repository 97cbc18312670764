"""``zerog doctor`` where only some of the waiting jobs are examined: what is missing is named, and what is not lost."""

from __future__ import annotations

import math
from typing import Any

import pytest

import zerog
from tests.maintenance.doctors import doctor_of
from zerog.engine.engine import Unsuitable
from zerog.engine.transitions import WorkerIdentity, given_back, waiting
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.findings import Diagnosis, Finding
from zerog.records.job import make_key, new_document
from zerog.records.operations import Set, apply
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> Any:
        return 200


class Newer(zerog.BaseJob):
    JOB_TYPE = "newer"

    def run(self) -> Any:
        return 200


@pytest.fixture
def app(clock: ManualClock) -> zerog.App:
    made = zerog.App("memory://", clock=clock)
    made.register(Plain)
    return made


def found(diagnosis: Diagnosis, words: str) -> Finding:
    [finding] = [finding for finding in diagnosis.findings if words in finding.what]
    return finding


def test_of_many_jobs_the_oldest_are_examined(app: zerog.App) -> None:
    """The finding names how many there are, and the command that examines all; it needs no person."""
    uuids = app.submit_many("plain", [{}] * 1_200)
    app.datastore.mutate(make_key(uuids[0]), [Set("jobType", "unknown")])
    app.datastore.mutate(make_key(uuids[-1]), [Set("jobType", "unknown")])
    diagnosis = doctor_of(app, "shop:app").examine(examined=1_000)
    finding = found(diagnosis, "were examined")
    assert finding.what == "1,000 of 1,200 queued jobs were examined"
    assert (finding.command, finding.needs_person) == ("zerog doctor shop:app --all", False)
    assert (diagnosis.jobs, diagnosis.capped) == ({"queued": 1_200}, [])
    assert found(diagnosis, "type that neither").count == 1
    everything = doctor_of(app).examine(examined=math.inf)
    assert found(everything, "type that neither").count == 2
    assert not [each for each in everything.findings if "were examined" in each.what]


def test_a_capped_number_of_jobs_has_a_plus(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the bound of a count is not read for its number."""
    app.submit_many("plain", [{}] * 1_200)
    count = app.datastore.count
    monkeypatch.setattr(app.datastore, "count", lambda query: count(query, 1_100))
    diagnosis = doctor_of(app).examine(examined=500)
    assert (diagnosis.jobs, diagnosis.capped) == ({"queued": 1_100}, ["queued"])
    assert found(diagnosis, "were examined").what == "500 of 1,100+ queued jobs were examined"


def test_pending_jobs_beyond_the_sample_are_found(app: zerog.App, clock: ManualClock) -> None:
    """By the index of what is due; a job of the sample counts once."""
    late = new_document("plain", 1.0, to_text(clock.now()))
    app.submit_many("plain", [{}] * 5)
    early = new_document("plain", 1.0, to_text(clock.now()), "00000000-0000-7000-8000-000000000000")
    for document in (early, late):
        apply(document, waiting(to_text(clock.now()), 0))
        app.datastore.create(make_key(document["uuid"]), document)
    clock.advance(3600)
    diagnosis = doctor_of(app).examine(examined=2)
    pending = found(diagnosis, "never reached their queue")
    assert (pending.count, {*pending.jobs}) == (2, {early["uuid"], late["uuid"]})
    assert diagnosis.sampled == ["queued"]


def test_running_jobs_are_examined_however_small_the_sample(app: zerog.App) -> None:
    """A sample of waiting jobs doesn't hide the running jobs of a silent owner."""
    app.submit_many("plain", [{}] * 4)
    claims = app.engine.claim(3, ALICE, lambda head: head["jobType"])
    assert len(claims) == 3
    diagnosis = doctor_of(app).examine(examined=1)
    assert found(diagnosis, "an owner without a record").count == 3


def test_refused_kinds_beyond_the_sample_are_counted(clock: ManualClock) -> None:
    """By the list of kinds that workers keep and the sizes of their queues, whatever program submitted them."""
    app = zerog.App("memory://", clock=clock)
    app.register(Plain, Newer)
    app.submit_many("plain", [{}] * 3)
    app.submit_many("newer", [{}] * 4)
    old = WorkerIdentity("alice", 30.0, None, (("plain", 1.0),))

    def loader(head: dict[str, Any]) -> Any:
        if head["jobType"] == "newer":
            raise Unsuitable("not here")
        return head["jobType"]

    claims = app.engine.claim(10, old, loader)
    app.engine.settle([given_back(claim) for claim in claims])
    record = {"knows": [["plain", 1.0]], "queues": ["default"]}
    WorkerRecords(app.engine).renew(old, 1, lambda: record)
    [finding] = [f for f in doctor_of(app).examine(examined=1).findings if "were refused" in f.what]
    what = "4 entries of 'newer' in version 1 on queue default were refused, and no living worker takes them"
    assert (finding.what, finding.needs_person) == (what, True)
    WorkerRecords(app.engine).renew(old, 2, lambda: {**record, "knows": [["plain", 1.0], ["newer", 1.0]]})
    assert not [f for f in doctor_of(app).examine(examined=1).findings if "were refused" in f.what]
    everything = doctor_of(app).examine(examined=math.inf)
    assert not [f for f in everything.findings if "were refused" in f.what]
