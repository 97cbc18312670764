"""Faults of the way from submit to the end: a job lost, run twice, stuck, or ended with a hidden error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance import test_supervisor
from tests.acceptance.harness import Workers
from tests.jobs.builders import InterferingStore, declared
from tests.worker.builders import finished, raising
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import JobNotFound, QueueUnavailable, ReservationLost, TooManyCollisions
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key
from zerog.support import failpoints
from zerog.support.failpoints import InjectedFailure
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> Any:
        return {"run": self.attempts}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db", clock=clock)
    made.register(Plain)
    yield made
    failpoints.disarm()
    made.close()


def claim(app: zerog.App, worker: WorkerIdentity = ALICE) -> list[Claim]:
    return app.engine.claim(10, worker, app.registry.load_head)


def finish(app: zerog.App, mine: Claim, code: int = 200) -> bool:
    return app.engine.settle([Settlement(mine, "finish", 1, code)])[0] is True


def sweeps(app: zerog.App, seconds: float) -> None:
    """Do what a healthy worker's reconciler does in that time."""
    assert isinstance(app.clock, ManualClock)
    reconciler = Reconciler(app.engine, "healthy", app.clock)
    for _ in range(int(seconds / 10) + 1):
        reconciler.sweep()
        app.clock.advance(10)


# a job or its result is lost


@pytest.mark.parametrize("point", ["settle.write", "settle.written", "settle.put", "settle.mark"])
def test_a_worker_dies_between_the_outcome_of_a_run_and_the_queue(point: str, app: zerog.App) -> None:
    """The entry is gone from the queue since the claim, the job was to run again: by the document, it does."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    assert app.queue.size() == 0
    failpoints.arm(point, "raise")
    try:
        app.engine.settle([Settlement(mine, "requeue", 1)])
        failpoints.disarm()  # an engine that does both in one transaction has no such place between them
    except InjectedFailure:
        sweeps(app, 50)
    assert [one.uuid for one in claim(app, BOB)] == [uuid]


def test_a_worker_dies_before_the_result_is_stored(app: zerog.App) -> None:
    """No entry and no result: it used to be -1 for ever; here the run is taken from the dead worker and repeated."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    failpoints.arm("settle.write", "raise")
    with pytest.raises(InjectedFailure):
        finish(app, mine)
    sweeps(app, 50)
    [again] = claim(app, BOB)
    assert finish(app, again)
    assert (app.progress(uuid)["result"], app.get_job(uuid).lost) == (200, 1)


@pytest.mark.parametrize("answer", [None, 0, "", False, QueueUnavailable("no route")])
def test_a_queue_answers_nothing_of_use_to_a_put(
    answer: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client got "accepted" and the job was never looked for; here it is found and runs, whatever was answered."""
    app = zerog.App("memory://", clock=clock)
    app.register(Plain)

    def put(*_args: object, **_kwargs: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with monkeypatch.context() as broken:
        broken.setattr(app.queue, "put", put)
        job = app.submit("plain")
    assert app.progress(job.uuid)["status"] == "queued"
    claim(app)
    sweeps(app, 60)
    assert [one.uuid for one in claim(app)] == [job.uuid]


# a job runs twice


def test_a_connection_is_lost_right_after_the_claim(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue gives the entry to a second worker, and refuses the first one's; the first one's result counts."""

    class Cut:
        def __init__(self, uuid: str) -> None:
            self.uuid = uuid

        def delete(self) -> None:
            raise ReservationLost("the connection was lost; another consumer has the entry")

    engine = Engine(app.datastore, MemoryQueue(), app.clock)
    uuid = app.submit("plain").uuid
    with monkeypatch.context() as cut:
        cut.setattr(engine.queue, "reserve", lambda timeout: Cut(uuid))
        [mine] = engine.claim(1, ALICE, app.registry.load_head)
    engine.queue.put(uuid)
    assert engine.claim(1, BOB, app.registry.load_head) == []
    assert engine.settle([Settlement(mine, "finish", 1, 200)]) == [True]
    head = engine.read(uuid)[0]
    assert (head["resultCode"], head["attempts"], head["crashes"], head["lost"]) == (200, 1, 0, 0)


def test_a_put_whose_reply_is_lost_is_sent_again(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries of one job are one run."""
    app = zerog.App("memory://", clock=clock)
    app.register(Plain)
    put = app.queue.put

    def silent(*args: Any, **options: Any) -> Any:
        put(*args, **options)
        raise QueueUnavailable("timed out; the outcome is unknown")

    with monkeypatch.context() as broken:
        broken.setattr(app.queue, "put", silent)
        uuid = app.submit("plain").uuid
    clock.advance(6)
    Reconciler(app.engine, "healthy", clock).sweep()
    assert app.queue.size() == 2
    [mine] = claim(app)
    assert claim(app, BOB) == []
    assert (mine.uuid, app.get_job(uuid).attempts, app.queue.size()) == (uuid, 1, 0)


# a job is stuck, or repeated without an end


def test_a_time_to_run_of_thirty_days_keeps_a_job_of_a_dead_worker(app: zerog.App) -> None:
    """The job was out of reach until the queue released it; here the worker's lease decides, and the queue does not."""
    job = Plain(app.datastore, app.queue)
    job.enqueue(ttr=30 * 86_400)
    assert len(claim(app)) == 1
    sweeps(app, 50)
    assert [one.uuid for one in claim(app, BOB)] == [job.uuid]


def test_a_replacement_dies_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """Dead twice between two polls it seemed unchanged, and was never replaced."""
    with Workers(tmp_path, "--processes", "2", "--lease", "2") as w:
        w.start()
        seen: set[int] = set()

        def both_but_none_of_the_dead(dead: set[int]) -> set[int] | None:
            alive = set(test_supervisor.worker_pids(w)) - dead
            return alive if len(alive) == 2 else None

        dead: set[int] = set()
        for _ in range(2):
            alive = w.until(lambda: both_but_none_of_the_dead(dead))
            victim = min(alive - seen)
            seen |= alive
            os.kill(victim, signal.SIGKILL)
            dead.add(victim)
        w.until(lambda: both_but_none_of_the_dead(dead))
        assert w.app.wait(w.app.submit("square", {"number": 3}).uuid, 20).output == {"square": 9}


def test_a_new_worker_has_the_process_number_of_a_dead_one(app: zerog.App) -> None:
    """A process of that number was there, so the dead worker passed for alive; here no worker's name is used twice."""
    dead, successor = (zerog.Worker(app, name="host").name for _ in range(2))
    assert dead != successor and dead.split("-")[:2] == successor.split("-")[:2] == ["host", str(os.getpid())]
    uuid = app.submit("plain").uuid
    WorkerRecords(app.engine).renew(WorkerIdentity(dead, 30.0), 1)
    claim(app, WorkerIdentity(dead, 30.0))
    assert isinstance(app.clock, ManualClock)
    reconciler = Reconciler(app.engine, successor, app.clock)
    for beat in range(1, 6):
        WorkerRecords(app.engine).renew(WorkerIdentity(successor, 30.0), beat)
        reconciler.sweep()
        app.clock.advance(10)
    assert [one.uuid for one in claim(app, WorkerIdentity(successor, 30.0))] == [uuid]


@pytest.mark.parametrize(
    "body",
    [raising(zerog.WarningContinue("not yet")), lambda self: zerog.NO_RESULT, raising(SystemExit(3))],
    ids=["warning", "value", "exit"],
)
def test_a_job_runs_again_without_any_limit(body: Any) -> None:
    """Two hundred runs of two hundred; here each way to ask for another run is bounded, and the end records why."""
    job = finished(body, MAX_CONTINUES=5, MAX_ERRORS=5)
    assert (job.status, job.resultCode) == ("failed", 500)
    assert job.attempts <= 6
    assert any(word in job.errors[-1].msg for word in ("MAX_CONTINUES", "SystemExit: 3"))


# an error is hidden, an update is lost


@pytest.mark.parametrize("params", ["{not json", "", [], 5, b"{}"])
def test_malformed_parameters_become_an_empty_object(params: Any, app: zerog.App) -> None:
    """The job ran with its defaults; here it is refused and nothing is stored."""
    with pytest.raises(Exception, match="expected an object of parameters"):
        app.submit("plain", params)
    assert app.datastore.find(FindQuery()).heads == []


def test_a_change_is_given_up_after_ten_collisions_and_kept_in_memory() -> None:
    """It looked stored; here it is, or the caller gets an error."""
    job = declared(InterferingStore())
    job.save()
    job.datastore.times = 20
    job.update_attrs(offset=7)
    assert job.datastore.read(job.key())["offset"] == 7
    job.datastore.times = 10_000
    with pytest.raises(TooManyCollisions):
        job.record_change(lambda: setattr(job, "offset", 8))
    assert job.datastore.read(job.key())["offset"] == 7


def test_the_name_of_the_queue_is_never_set(app: zerog.App) -> None:
    """It was in the schema and empty; here it names where the job waits, and a repair uses it."""
    uuid = app.submit("plain", queue="low").uuid
    assert app.get_job(uuid).queueName == app.datastore.read(make_key(uuid))["queueName"] == "low"
    entry = app.queue.queue_named("low").reserve(0)
    assert entry is not None
    entry.delete()
    sweeps(app, 60)
    assert [one.uuid for one in app.engine.claim(1, ALICE, app.registry.load_head, ["low"])] == [uuid]


def test_a_deleted_document_is_a_job_no_more(app: zerog.App) -> None:
    """A replacement that found nothing inserted it again; here neither its run's end nor a delivery restores it."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    app.datastore.delete(make_key(uuid))
    assert not finish(app, mine)
    app.queue.put(uuid)
    sweeps(app, 60)
    assert claim(app, BOB) == []
    with pytest.raises(JobNotFound):
        app.get_job(uuid)
