"""The worker in one process: options, shutdown, outages, what it claims and releases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.processes import until
from tests.worker.builders import Running
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settled, Settlement, WorkerIdentity
from zerog.exceptions import DatastoreUnavailable, InvalidValue
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.operations import Add as AddTo
from zerog.support.clock import Clock, from_text
from zerog.worker import fetcher
from zerog.worker.lease import Lease
from zerog.worker.outcome import Outcome
from zerog.worker.pace import Pace


class Add(zerog.BaseJob):
    JOB_TYPE = "add"

    class Params(Schema):
        a = fields.Integer(required=True)
        b = fields.Integer(load_default=1)

    a: int
    b: int

    def run(self) -> dict[str, int]:
        return {"sum": self.a + self.b}


class Blocking(zerog.BaseJob):
    JOB_TYPE = "blocking"
    began = threading.Event()
    recorded = threading.Event()
    go = threading.Event()

    @classmethod
    def reset(cls) -> None:
        for event in (cls.began, cls.recorded, cls.go):
            event.clear()

    def run(self) -> None:
        self.began.set()
        while not self.go.wait(0.01):
            if self.stopping:
                self.recorded.set()


class Flaky(MemoryDatastore):
    """Can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.off = False
        self.refused = 0

    def read_with_cas(self, key: str, head: bool = False) -> Any:
        self._check()
        return super().read_with_cas(key, head)

    def mutate(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return super().mutate(*args, **kwargs)

    def _check(self) -> None:
        if self.off:
            self.refused += 1
            raise DatastoreUnavailable("switched off; nothing was written")


@pytest.fixture
def app() -> Iterator[zerog.App]:
    Blocking.reset()
    app = zerog.App("memory://")
    app.register(Add, Blocking)
    yield app
    Blocking.go.set()
    app.close()


def test_burst_works_off_what_is_ready_and_counts(app: zerog.App) -> None:
    """run(burst=True) ends once nothing is ready and returns what it did."""
    uuids = app.submit_many("add", ({"a": n} for n in range(50)))
    later = app.submit("add", {"a": 1}, delay=60)
    stats = zerog.Worker(app, concurrency=4).run(burst=True)
    assert (stats.ran, stats.succeeded, stats.failed, stats.lost) == (50, 50, 0, 0)
    assert [app.get_job(uuid).output for uuid in uuids] == [{"sum": n + 1} for n in range(50)]
    assert app.progress(later.uuid)["status"] == "scheduled"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": 2.5}, "concurrency=2.5"),
        ({"executor": "fork"}, "executor='fork'"),
        ({"lease": 0}, "lease=0"),
        ({"lease": "30"}, "lease='30'"),
        ({"grace": -1}, "grace=-1"),
        ({"executor": "process"}, "memory://"),
    ],
)
def test_wrong_options_fail_at_once(app: zerog.App, options: dict[str, Any], named: str) -> None:
    """A worker that couldn't work isn't made, and the option is named."""
    with pytest.raises(zerog.ConfigurationError, match=named.replace("(", r"\(")):
        zerog.Worker(app, **options)


def test_unknown_options_are_refused(app: zerog.App) -> None:
    """A misspelt option is an error, not ignored."""
    with pytest.raises(TypeError, match="concurency"):
        zerog.Worker(app, concurency=2)


def test_queues_are_served_in_order_of_priority(app: zerog.App) -> None:
    """A worker takes from the first queue first, and from no queue it wasn't given."""
    low = app.submit_many("add", [{"a": 1}] * 3, queue="low")
    high = app.submit_many("add", [{"a": 2}] * 3, queue="high")
    other = app.submit("add", {"a": 3}, queue="other").uuid
    zerog.Worker(app, queues=["high", "low"]).run(burst=True)
    started = {uuid: app.progress(uuid)["startedAt"] for uuid in (*low, *high)}
    assert max(started[uuid] for uuid in high) <= min(started[uuid] for uuid in low)
    assert app.progress(other)["status"] == "queued"


def test_stop_waits_for_a_running_job(app: zerog.App) -> None:
    """What runs is finished and settled before run() returns; what waits isn't begun."""
    first = app.submit("blocking").uuid
    second = app.submit("blocking").uuid
    with Running(app) as running:
        assert Blocking.began.wait(20)
        running.worker.stop()
        assert Blocking.recorded.wait(20)
        Blocking.go.set()
    assert app.progress(first)["status"] == "succeeded"
    assert app.progress(second)["status"] == "queued"
    assert running.stats is not None
    assert running.stats.succeeded == 1


def test_jobs_claimed_ahead_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short jobs are claimed ahead of the slots; at shutdown those not begun are released, uncounted."""
    monkeypatch.setattr(Pace, "may_wait", lambda self, job_type: True)
    monkeypatch.setattr(fetcher, "HOARDED", 60.0)
    Blocking.reset()
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    app.register(Add, Blocking)
    app.submit_many("add", ({"a": n} for n in range(200)))
    blocking = app.submit("blocking").uuid
    behind = app.submit_many("add", ({"a": n} for n in range(40)))
    with Running(app) as running:
        assert Blocking.began.wait(30)
        ahead = until(lambda: [uuid for uuid in behind if app.progress(uuid)["status"] == "running"])
        running.worker.stop()
        assert Blocking.recorded.wait(20)
        until(lambda: all(app.progress(uuid)["status"] == "queued" for uuid in ahead))
        Blocking.go.set()
    assert app.progress(blocking)["status"] == "succeeded"
    assert {app.progress(uuid)["status"] for uuid in behind} == {"queued"}
    assert {app.progress(uuid)["attempts"] for uuid in behind} == {0}
    app.close()


def test_an_outage_of_the_datastore_is_waited_out() -> None:
    """While the datastore can't be reached nothing is lost or counted; then the work resumes unaided."""
    store = Flaky()
    app = zerog.App(datastore=store, queue=MemoryQueue())
    app.register(Add, Blocking)
    Blocking.reset()
    uuid = app.submit("blocking").uuid
    with Running(app):
        assert Blocking.began.wait(20)
        store.off = True
        Blocking.go.set()
        until(lambda: store.refused > 3)
        store.off = False
        job = app.wait(uuid, 20)
    assert (job.status, job.attempts, job.errorCount) == ("succeeded", 1, 0)


def test_a_worker_leaves_no_record_behind(app: zerog.App) -> None:
    """The record that keeps the lease is there while the worker runs, and gone after a clean end."""
    app.submit("blocking")
    with Running(app, name="pinta") as running:
        assert Blocking.began.wait(20)
        record = app.datastore.read(f"zerog_worker_{running.worker.name}")
        assert record is not None
        assert (record["beat"], record["worker"]) == (1, running.worker.name)
        assert running.worker.name.startswith("pinta-")
        Blocking.go.set()
    assert app.datastore.read(f"zerog_worker_{running.worker.name}") is None


class StillClock(Clock):
    """Its monotonic time is what the test sets; waits return at once."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time


def test_a_worker_that_cant_renew_stops_its_jobs_before_a_takeover() -> None:
    """After two thirds of the lease without a renewal, and not before, the runs are revoked, once."""
    store, clock, lost = Flaky(), StillClock(), list[str]()
    engine = zerog.App(datastore=store, queue=MemoryQueue()).engine
    lease = Lease(
        WorkerRecords(engine),
        WorkerIdentity("w", 30.0),
        dict,
        lambda why, _is_outage: lost.append(why),
        clock,
    )
    lease._renew()
    clock.time = 19.9
    lease.check()
    assert (lost, lease.held) == ([], True)
    clock.time = 20.1
    lease.check()
    lease.check()
    assert len(lost) == 1
    assert "20.1 s" in lost[0]
    assert not lease.held
    lease._renew()
    assert lease.held


def test_a_revoked_run_is_taken_back_and_runs_again() -> None:
    """When a worker gives up its own run after an outage the job runs again, and is not charged."""
    store = Flaky()
    app = zerog.App(datastore=store, queue=MemoryQueue())
    app.register(Blocking)
    Blocking.reset()
    uuid = app.submit("blocking").uuid
    with Running(app, lease=1.5):
        assert Blocking.began.wait(20)
        store.off = True
        until(lambda: seconds_since_start(store, uuid) > 2.5)
        store.off = False
        Blocking.go.set()
        job = app.wait(uuid, 20)
    assert (job.status, job.lost, job.attempts) == ("succeeded", 0, 1)


def seconds_since_start(store: Flaky, uuid: str) -> float:
    head = MemoryDatastore.read_with_cas(store, f"zerog_job_{uuid}", head=True)[0]
    assert head is not None
    return (Clock().now() - from_text(head["startedAt"])).total_seconds()


def test_an_end_that_cant_be_stored_fails_that_job_alone(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a run wants to write at its end, the worker continues and the other jobs end as they should."""
    bad, good = app.submit("add", {"a": 1}).uuid, app.submit("add", {"a": 2}).uuid
    app.build_id = "7"
    original = Outcome.settlement

    def spoil(outcome: Outcome, claim: Claim) -> Settlement:
        settlement = original(outcome, claim)
        if claim.uuid == bad:
            settlement.operations.append(AddTo("logId", 1))
        return settlement

    monkeypatch.setattr(Outcome, "settlement", spoil)
    stats = zerog.Worker(app, concurrency=2).run(burst=True)
    assert stats.succeeded == 1
    assert app.progress(good)["status"] == "succeeded"
    info = app.info(bad)
    assert (info["status"], info["result"]) == ("failed", 500)
    assert "could not be stored" in info["errors"][0]["msg"] and info["errors"][0]["build"] == "7"


def test_an_outage_while_a_refused_end_is_shortened_is_waited_out(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A datastore outage just then ends neither the worker nor the job: the short end is stored later."""
    uuid = app.submit("add", {"a": 1}).uuid
    answers: list[Exception] = [InvalidValue("made up: can't be stored"), DatastoreUnavailable("made up: gone")]
    original = Engine.settle

    def flaky(engine: Engine, settlements: list[Settlement]) -> list[Settled]:
        if settlements and answers:
            return [answers.pop(0)]
        return original(engine, settlements)

    monkeypatch.setattr(Engine, "settle", flaky)
    assert zerog.Worker(app).run(burst=True).failed == 1
    assert answers == []
    assert "made up: can't be stored" in app.get_job(uuid).errors[0].msg
