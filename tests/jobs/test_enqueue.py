"""enqueue: an accepted job is stored, whatever the queue answers."""

from __future__ import annotations

from typing import Any

import pytest

import zerog
from tests.jobs.builders import Declared, DownQueue, again, declared, documented, head_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable, InvalidValue, JobStateError


def test_enqueue_stores_the_job_and_puts_its_uuid(app: Any) -> None:
    job = Declared(app.datastore, app.queue, path="x")
    job.enqueue(priority=5, ttr=30)
    stored = app.datastore.read(job.key())
    assert (stored["status"], stored["queueState"], stored["priority"]) == ("queued", "queued", 5)
    assert stored["queueKwargs"] == {"priority": 5, "ttr": 30}
    assert stored["queueJobId"] == job.queueJobId != -1
    entry = app.queue.reserve(0)
    assert entry.uuid == job.uuid


def test_a_queue_out_of_reach_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    job = declared(queue=DownQueue())
    job.enqueue()
    assert (job.status, job.queueState, job.queueJobId) == ("queued", "pending", -1)
    assert head_of(job)["queueState"] == "pending"
    assert "not yet on queue default: connection refused" in caplog.text


def test_a_document_that_can_t_be_written_is_an_exception_and_nothing_is_put() -> None:
    class Down(MemoryDatastore):
        def set_with_cas(self, *args: Any) -> Any:
            raise DatastoreUnavailable("no disk")

    job = declared(Down())
    with pytest.raises(DatastoreUnavailable):
        job.enqueue()
    assert job.queue.size() == 0


def test_a_delay_schedules_the_job() -> None:
    job = declared()
    job.enqueue(delay=60)
    assert job.status == "scheduled"
    assert job.notBefore is not None
    assert (job.notBefore - job.createdAt).total_seconds() == pytest.approx(60, abs=5)


def test_a_saved_job_is_enqueued_with_what_was_assigned_since() -> None:
    job = documented()
    job.save()
    job.limit = 42
    job.enqueue()
    assert head_of(job)["limit"] == 42 == job.limit
    assert head_of(job)["status"] == "queued"


def test_enqueue_never_overwrites_another_client_s_change() -> None:
    job = documented()
    job.save()
    again(job).update_attrs(limit=1)
    job.limit = 2
    with pytest.raises(zerog.CasMismatch):
        job.enqueue()
    assert job.queue.size() == 0


def test_a_waiting_job_may_be_put_once_more_and_runs_once(app: Any) -> None:
    job = Declared(app.datastore, app.queue, path="x")
    job.enqueue()
    job.enqueue()
    stats = zerog.Worker(app).run(burst=True)
    assert (stats.ran, app.get_job(job.uuid).attempts) == (1, 1)


@pytest.mark.parametrize("wrong", [-1, float("nan"), "soon", True, 10**400, None])
def test_a_wrong_option_is_refused_before_anything_is_stored(wrong: Any) -> None:
    job = declared(queue=MemoryQueue())
    with pytest.raises(InvalidValue, match="delay"):
        job.enqueue(delay=wrong)
    with pytest.raises(InvalidValue, match="priority"):
        job.enqueue(priority="high")
    with pytest.raises(InvalidValue, match="ttr"):
        job.enqueue(ttr=0)
    with pytest.raises(TypeError, match="delya"):
        job.enqueue(delya=5)
    assert job.cas is None
    assert job.datastore.read(job.key()) is None


def test_a_finished_job_is_not_enqueued(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    zerog.Worker(app).run(burst=True)
    finished = app.get_job(job.uuid)
    with pytest.raises(JobStateError, match=r"retry\(\)"):
        finished.enqueue()
    assert app.progress(job.uuid)["status"] == "succeeded"


def test_a_job_can_t_be_queued_without_a_document_of_its_own_by_a_token_from_outside() -> None:
    job = documented(cas="17")
    with pytest.raises(zerog.CasMismatch):
        job.enqueue()
    assert job.queue.size() == 0


def test_a_running_job_that_is_not_enqueued_stays_as_it_was(app: Any) -> None:
    """A refusal changes nothing: neither options for the queue nor what was assigned to the object meanwhile."""
    job = app.submit("declared", {"path": "x"})
    [claim] = app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    before = app.datastore.read(claim.key)
    job.offset = 5
    with pytest.raises(JobStateError, match="running and can't be enqueued"):
        job.enqueue(priority=9, ttr=5)
    assert app.datastore.read(claim.key) == before


def test_a_job_that_is_claimed_at_that_moment_stays_as_it_was(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write itself checks once more whether it still waits."""
    job = app.submit("declared", {"path": "x"})
    app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    monkeypatch.setattr(app.engine, "check_waits", lambda uuid: None)
    before = app.datastore.read(job.key())
    with pytest.raises(JobStateError, match="running"):
        job.enqueue(priority=9)
    assert app.datastore.read(job.key()) == before


def test_a_waiting_job_takes_new_options(app: Any) -> None:
    """Enqueued again it has the new priority, stored and on the object."""
    job = app.submit("declared", {"path": "x"}, priority=1)
    job.enqueue(priority=9, ttr=5)
    stored = app.datastore.read(job.key())
    assert stored["queueKwargs"] == {"priority": 9, "ttr": 5} == job.queueKwargs
    assert stored["priority"] == 9 == job.priority
