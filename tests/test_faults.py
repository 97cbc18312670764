"""Faults that job frameworks of this kind have had, as their users would notice them, up to whole workers.

Those that live in one part are tested beside it: collisions, ticks, tokens and values in ``tests/jobs``, ways out of
a run in ``tests/worker``, crashes between two writes in ``tests/engines``, killed workers in ``tests/acceptance``.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import PlainStore
from tests.processes import stretched
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.set_aside import LONGEST
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import ClaimLost
from zerog.maintenance.reconcile import INTERVAL
from zerog.records.job import make_key
from zerog.support import jsonvalues
from zerog.testing.clock import ManualClock
from zerog.testing.inline import run_inline

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> Any:
        return 200


class Failing(zerog.BaseJob):
    JOB_TYPE = "failing"

    def run(self) -> Any:
        raise ValueError("always")


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Plain, Failing)
    yield made
    made.close()


def timed(*classes: type[zerog.BaseJob]) -> tuple[zerog.App, ManualClock]:
    """An app in memory with a manual clock."""
    clock = ManualClock()
    made = zerog.App("memory://", clock=clock)
    made.register(*classes)
    return made, clock


def claim(app: Any, worker: WorkerIdentity = ALICE) -> list[Any]:
    return list(app.engine.claim(10, worker, app.registry.load_head))


# a job or its result is lost


def test_a_job_of_newer_code_with_one_more_field_is_lost_on_an_older_worker(app: Any) -> None:
    """During a rolling deploy jobs vanished without a trace; here the older worker runs them and keeps the field."""
    job = app.submit("plain")
    document, token = app.datastore.read_with_cas(job.key())
    app.datastore.set_with_cas(job.key(), {**document, "addedLater": [1]}, token)
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    assert app.datastore.read(job.key())["addedLater"] == [1]


def test_a_job_whose_class_is_missing_is_deleted_after_some_tries() -> None:
    """A worker that doesn't know a type yet used to throw its jobs away at the fourth try; here they wait for one."""
    app, clock = timed()
    knowing = zerog.App(datastore=app.datastore, queue=app.queue, clock=clock)
    knowing.register(Plain)
    uuid = knowing.submit("plain").uuid
    before = app.datastore.read_with_cas(make_key(uuid))
    for _ in range(20):
        assert claim(app) == []
        clock.advance(LONGEST + 0.1)
    assert app.datastore.read_with_cas(make_key(uuid)) == before
    assert [c.uuid for c in claim(knowing)] == [uuid]


def test_the_reason_why_a_job_is_not_run_is_logged_only_after_some_tries(app: Any) -> None:
    """There was no way to see why a job didn't start; here the first try already shows it."""
    uuid = app.submit("plain").uuid
    stranger = zerog.App(datastore=app.datastore, queue=app.queue)
    stranger.register(Failing)
    assert claim(stranger) == []
    assert "'plain'" in stranger.reconcile().stuck[uuid]


def test_a_result_is_given_up_after_ten_collisions() -> None:
    """A finished job that was written to at that moment showed -1 for ever; here its result is stored."""

    class Busy(PlainStore):
        left = 0

        def set_with_cas(self, key: str, value: Any, cas: int) -> Any:
            if self.left and key in self.documents:
                self.left -= 1
                stored, token = self.documents[key]
                super().set_with_cas(key, {**stored, "theirs": self.left}, token)
            return super().set_with_cas(key, value, cas)

    store = Busy()
    app = zerog.App(datastore=store, queue=MemoryQueue())
    app.register(Plain)
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    store.left = 50
    assert app.engine.settle([Settlement(mine, "finish", 1, 200)]) == [True]
    assert store.left == 0
    assert app.progress(uuid)["result"] == 200


def test_the_queue_forgets_everything() -> None:
    """After a restart of a queue without a log nothing ran any more; here every waiting job is put back."""
    app, clock = timed(Plain)
    queue = app.queue
    uuids = [app.submit("plain").uuid for _ in range(5)]
    queue.flush()
    assert claim(app) == []
    for _ in range(4):
        clock.advance(2 * INTERVAL)
        app.reconcile()
    assert sorted(c.uuid for c in claim(app)) == sorted(uuids)


def test_a_document_that_grows_without_bound_can_t_take_its_result(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chatty job filled its document until nothing could be written any more; here its history is bounded."""

    class Chatty(zerog.BaseJob):
        JOB_TYPE = "chatty"

        def run(self) -> Any:
            for number in range(120):
                self.record_event(f"{number} {'x' * 1_000}")
            return 200

    monkeypatch.setattr(type(app.datastore), "history_limit", 50)
    app.register(Chatty)
    job = run_inline(app, app.submit("chatty").uuid)
    assert (job.status, len(job.events), job.events[-1]["msg"][:3]) == ("succeeded", 50, "119")
    assert job.dump()["eventsDropped"] == 70


def test_a_long_history_makes_each_write_longer(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two-thousandth event wrote 272 kB; here it writes what the tenth wrote."""
    job = app.submit("plain")
    written: list[int] = []
    encode = jsonvalues.encode_checked
    monkeypatch.setattr(jsonvalues, "encode_checked", lambda *a: written.append(len(text := encode(*a))) or text)

    def cost() -> int:
        written.clear()
        job.record_event("x" * 20)
        return sum(written)

    early = [cost() for _ in range(10)][-1]
    for _ in range(500):
        job.record_event("x" * 20)
    assert early > 0
    assert cost() <= early + 20


# a job runs twice, or its end is overwritten


def test_a_second_delivery_of_a_running_job_starts_it_again(app: Any) -> None:
    """A lost connection or a repeated put let a second worker run the same job; here the delivery is dropped."""
    uuid = app.submit("plain").uuid
    app.queue.put(uuid)
    assert [c.uuid for c in claim(app)] == [uuid]
    app.queue.put(uuid)
    assert claim(app, BOB) == []
    assert app.queue.size() == 0
    assert app.get_job(uuid).attempts == 1


def test_two_workers_claim_one_job_at_the_same_moment(app: Any) -> None:
    """Both ran it, because the loser's refused write was repaired by a reload; here one of them wins."""
    for _ in range(10):
        uuid = app.submit("plain").uuid
        for _ in range(3):
            app.queue.put(uuid)
        barrier, won = threading.Barrier(4), []

        def race(barrier: threading.Barrier = barrier, won: list[Any] = won) -> None:
            barrier.wait(stretched(10))
            won.extend(claim(app))

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [c.uuid for c in won] == [uuid]


def test_a_delivery_after_the_end_runs_the_job_again(app: Any) -> None:
    """A finished job was run once more by a late delivery; here its document doesn't change."""
    uuid = app.submit("plain").uuid
    zerog.Worker(app).run(burst=True)
    before = app.datastore.read_with_cas(make_key(uuid))
    app.queue.put(uuid)
    assert zerog.Worker(app).run(burst=True).ran == 0
    assert app.datastore.read_with_cas(make_key(uuid)) == before


def test_a_cancelled_run_is_given_to_another_worker_first(app: Any) -> None:
    """A job killed by its user was started again elsewhere; here a dead owner's cancelled job ends."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    app.cancel(uuid)
    app.queue.put(uuid)
    assert claim(app, BOB) == []
    app.engine.rescue(uuid, mine.run, "lost", "alice is gone")
    assert claim(app, BOB) == []
    assert (app.progress(uuid)["status"], app.progress(uuid)["result"]) == ("cancelled", 410)


@pytest.mark.parametrize(("first", "late"), [(200, 500), (500, 200)])
def test_a_result_is_overwritten_by_a_late_one(app: Any, first: int, late: int) -> None:
    """A worker that was thought dead wrote its result over the real one; here it is refused."""
    uuid = app.submit("plain").uuid
    [old] = claim(app)
    app.engine.rescue(uuid, old.run, "lost", "alice was silent")
    [new] = claim(app, BOB)
    assert app.engine.settle([Settlement(new, "finish", 1, first)]) == [True]
    assert app.engine.settle([Settlement(old, "finish", 1, late)]) == [False]
    with pytest.raises(ClaimLost):
        app.datastore.mutate(make_key(uuid), [], run=old.run._replace(seq=1))
    assert app.progress(uuid)["result"] == first


# stuck, or repeated without an end


def test_a_malformed_entry_kills_one_worker_after_the_other() -> None:
    """One bad message stopped the whole fleet; here it is set aside and counted, and the next job runs."""
    app = zerog.App("memory://")
    app.register(Plain)
    queue = app.queue
    for body in ("", "garbage", "{}", "../../x", "\x00"):
        queue.put_raw(body)
    uuid = app.submit("plain").uuid
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    assert (queue.rejected, queue.size(), app.progress(uuid)["result"]) == (5, 0, 200)


def test_a_requeue_forgets_priority_and_time_to_run() -> None:
    """An urgent job that failed once was an ordinary one afterwards; here it keeps its submitter's priority."""

    class Watching(MemoryQueue):
        puts: list[tuple[Any, ...]]

        def put(
            self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False
        ) -> int:
            self.puts.append((priority, ttr))
            return super().put(uuid, delay, priority, ttr, front)

    queue = Watching()
    queue.puts = []
    app = zerog.App(datastore="memory://", queue=queue)
    app.register(Failing)
    job = Failing(app.datastore, queue)
    job.enqueue(priority=7, ttr=90)
    [mine] = claim(app)
    app.engine.settle([Settlement(mine, "requeue", 1)])
    [mine] = claim(app)
    app.engine.rescue(mine.uuid, mine.run, "lost", "gone")
    assert queue.puts == [(7, 90)] * 3


def test_deploys_count_as_crashes_of_the_job(app: Any) -> None:
    """Three restarts of the worker failed a job as "likely out of memory"; here it continues."""
    uuid = app.submit("plain").uuid
    for _ in range(Plain.MAX_CRASHES):
        [mine] = claim(app)
        app.engine.rescue(uuid, mine.run, "lost", "the worker is gone")
    for _ in range(Plain.MAX_LOST * 2):
        [mine] = claim(app)
        app.engine.release(uuid, mine.run, "a deploy")
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    job = app.get_job(uuid)
    assert (job.crashes, job.lost, job.errorCount, job.attempts) == (0, 3, 0, 4)


def test_a_finished_job_still_shows_as_running(app: Any) -> None:
    """The flag stayed true after a kill at the wrong moment; here it is part of the one write that ends the run."""
    uuid = app.submit("plain").uuid
    [mine] = claim(app)
    assert app.get_job(uuid).running is True
    app.engine.settle([Settlement(mine, "finish", 1, 200)])
    stored = app.datastore.read(make_key(uuid))
    assert (stored["running"], stored["owner"], stored["status"]) == (False, None, "succeeded")


# an error is hidden


def test_a_failing_job_leaves_a_trace_of_each_try(app: Any) -> None:
    """Only a stack trace on a worker's stderr showed a failure; here each try is in the document."""
    uuid = app.submit("failing").uuid
    job = run_inline(app, uuid)
    assert [error.attempt for error in job.errors] == [1, 2, 3]
    assert all("ValueError: always" in (error.traceback or "") for error in job.errors)
    assert app.info(uuid)["errors"][0]["type"] == "ValueError"


def test_one_value_makes_a_document_unreadable_for_ever(app: Any) -> None:
    """A not-a-number was stored and could never be loaded again; here the job fails and names where it was."""

    class Nan(zerog.BaseJob):
        JOB_TYPE = "nan"

        class State(Schema):
            mean = fields.Float()

        def run(self) -> Any:
            self.mean = float("nan")
            self.save()

    app.register(Nan)
    job = run_inline(app, app.submit("nan").uuid)
    assert (job.status, job.resultCode) == ("failed", 500)
    assert "mean" in job.errors[0].msg
