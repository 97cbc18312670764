"""A job object outside a run: what has ended stays as it is, and a run's result is that run's alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import zerog
from tests.jobs.builders import Declared, InterferingStore, declared, head_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import JobStateError
from zerog.records.operations import Set


def assigned(job: Any) -> None:
    job.offset = 9
    job.save()


CHANGES: dict[str, Callable[[Any], object]] = {
    "output": lambda job: job.update_attrs(output={"forged": True}),
    "own field": lambda job: job.update_attrs(offset=9),
    "result": lambda job: job.record_result(404),
    "completeness": lambda job: job.set_completeness(0.1),
    "more completeness": lambda job: job.add_to_completeness(0.1),
    "error": lambda job: job.record_error(500, "no"),
    "save": assigned,
    "record_change": lambda job: job.record_change(setattr, job, "offset", 9),
    "enqueue": lambda job: job.enqueue(),
}


@pytest.fixture(params=["fresh", "stale"])
def ended(request: pytest.FixtureRequest, app: Any) -> Any:
    """An object of a job that has succeeded; the stale one was read before it ran."""
    job = app.submit("declared", {"path": "x"})
    assert zerog.Worker(app).run(burst=True).ran == 1
    assert app.progress(job.uuid)["status"] == "succeeded"
    return app.get_job(job.uuid) if request.param == "fresh" else job


@pytest.mark.parametrize("change", CHANGES)
def test_a_job_that_has_ended_takes_no_change(ended: Any, change: str) -> None:
    before = ended.datastore.read(ended.key())
    with pytest.raises((JobStateError, zerog.CasMismatch)) as caught:
        CHANGES[change](ended)
    assert ended.datastore.read(ended.key()) == before
    if not isinstance(caught.value, zerog.CasMismatch):
        assert "has ended (succeeded)" in str(caught.value)
        assert "Nothing was changed" in str(caught.value)


def test_what_was_refused_is_not_shown_by_the_object_either(ended: Any) -> None:
    with pytest.raises(JobStateError):
        ended.update_attrs(output="forged")
    assert ended.output is None


def test_a_note_on_a_job_that_has_ended_is_kept_and_carries_nothing_with_it(ended: Any) -> None:
    ended.update_attrs(offset=9, flush=False)
    ended.record_event("seen by the night shift")
    ended.record_warning("the file is gone")
    stored = ended.datastore.read(ended.key())
    assert [entry["msg"] for entry in stored["events"]][-1] == "seen by the night shift"
    assert (stored["warnings"][-1]["msg"], stored["offset"], stored["status"]) == ("the file is gone", 0, "succeeded")
    with pytest.raises((JobStateError, zerog.CasMismatch)):
        ended.save()


def test_a_retried_job_takes_changes_again(app: Any, ended: Any) -> None:
    app.retry(ended.uuid)
    app.get_job(ended.uuid).update_attrs(offset=9)
    assert head_of(ended)["offset"] == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.update_attrs(output="mine"),
        lambda job: job.record_result(200),
        lambda job: job.record_change(setattr, job, "output", "mine"),
    ],
)
def test_the_result_of_a_running_job_is_its_run_s_alone(app: Any, change: Callable[[Any], object]) -> None:
    job = app.submit("declared", {"path": "x"})
    [claim] = app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    before = app.datastore.read(job.key())
    with pytest.raises(JobStateError, match="run by w"):
        change(app.get_job(claim.uuid))
    assert app.datastore.read(job.key()) == before
    app.get_job(claim.uuid).update_attrs(offset=3)
    app.get_job(claim.uuid).add_to_completeness(0.25)
    assert (head_of(job)["offset"], head_of(job)["completeness"]) == (3, 0.25)


def test_a_job_that_ends_between_the_look_and_the_write_takes_no_change() -> None:
    """The write is made under the token of the head that was looked at."""
    ends = [Set("status", "failed"), Set("finishedAt", "2026-01-01T00:00:00+00:00")]
    job = declared(InterferingStore(0, lambda store, key: store.mutate(key, ends)))
    job.save()
    job.datastore.times = 1
    with pytest.raises(JobStateError, match="failed"):
        job.update_attrs(offset=9)
    assert (head_of(job)["offset"], head_of(job)["status"]) == (0, "failed")


def test_a_note_doesn_t_store_the_lifted_form_of_what_has_ended() -> None:
    class Old(Declared):
        @zerog.migration("1.0", "2.0")  # type: ignore[arg-type]
        def _two(document: dict[str, Any]) -> dict[str, Any]:
            return {**document, "share": 0.5}

    store = MemoryDatastore()
    job = Old(store, declared().queue, path="x")
    job.save()
    store.mutate(job.key(), [Set("schemaVersion", 1.0), Set("status", "succeeded")])
    registry = zerog.JobRegistry()
    registry.add_classes([Old])
    late = registry.get_job(job.uuid, store, job.queue)
    late.record_event("noted")
    late.save()
    assert (late.share, head_of(job)["schemaVersion"], head_of(job)["share"]) == (0.5, 1.0, 0.0)  # type: ignore[attr-defined]
