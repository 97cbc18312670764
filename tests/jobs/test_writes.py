"""save, reload, update_attrs, record_change: no change is lost, and no call returns silently after giving up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

import zerog
from tests.jobs.builders import Declared, InterferingStore, PlainQueue, PlainStore, again, declared, documented, head_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import AmbiguousWrite, InvalidValue, JobNotFound, TooManyCollisions
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.operations import Set


def test_a_first_save_makes_a_new_document_that_nothing_touches(app: Any) -> None:
    job = Declared(app.datastore, app.queue, path="x")
    job.save()
    app.reconcile()
    assert zerog.Worker(app).run(burst=True).ran == 0
    assert app.progress(job.uuid)["status"] == "new"


def test_a_second_job_under_one_uuid_is_refused() -> None:
    job = declared()
    job.save()
    twin = declared(job.datastore, uuid=job.uuid, offset=9)
    with pytest.raises(zerog.CasMismatch):
        twin.save()
    with pytest.raises(zerog.CasMismatch):
        twin.record_change(lambda: None)
    assert head_of(job)["offset"] == 0


def test_save_raises_the_datastore_s_own_exception_on_a_stale_token() -> None:
    for store in (MemoryDatastore(), PlainStore()):
        job = documented(store, PlainQueue())
        job.save()
        other = again(job)
        other.limit = 1
        other.save()
        job.limit = 2
        with pytest.raises(store.casException):
            job.save()
        assert head_of(job)["limit"] == 1


def test_save_without_a_change_writes_nothing() -> None:
    job = declared()
    job.save()
    before = job.cas
    job.save()
    assert again(job).cas == before


def test_a_worker_s_heartbeat_makes_no_save_stale() -> None:
    app = zerog.App("memory://")
    app.register(Declared)
    job = app.submit("declared", {"path": "x"})
    [claim] = app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    holder = app.get_job(claim.uuid)
    for beat in range(3):
        WorkerRecords(app.engine).renew(WorkerIdentity("w", 30.0), beat)
    holder.offset = 4
    holder.save()
    assert head_of(job)["offset"] == 4


@pytest.mark.parametrize("field", ["status", "epoch", "owner", "jobType", "schemaVersion"])
def test_fields_of_the_engine_can_t_be_changed_behind_its_back(field: str) -> None:
    job = declared()
    job.save()
    with pytest.raises(AttributeError, match=field):
        job.update_attrs(**{field: "succeeded"})
    job.__dict__[field] = 99.0
    with pytest.raises(AttributeError, match=field):
        job.save()
    assert head_of(job)["status"] == "new"


def test_documented_fields_may_be_set() -> None:
    job = declared()
    job.enqueue()
    job.update_attrs(queueJobId=10, running=True)
    stored = head_of(job)
    assert (stored["queueJobId"], stored["running"], stored["status"]) == (10, True, "queued")


@pytest.mark.parametrize(
    ("field", "value"),
    [("resultCode", "200"), ("resultCode", True), ("queueName", 5), ("completeness", "half"), ("headers", [])],
)
def test_a_documented_field_takes_only_what_can_be_read_again(field: str, value: Any) -> None:
    job = declared()
    job.save()
    with pytest.raises(InvalidValue, match=field):
        job.update_attrs(**{field: value})
    setattr(job, field, value)
    with pytest.raises(InvalidValue, match=field):
        job.save()
    fresh = declared()
    setattr(fresh, field, value)
    with pytest.raises(InvalidValue, match=field):
        fresh.enqueue()
    assert again(job).status == "new"


def test_an_unknown_attribute_is_refused_with_a_suggestion() -> None:
    job = declared()
    with pytest.raises(AttributeError, match=r"did you mean offset\?"):
        job.update_attrs(ofset=1)


def test_update_attrs_changes_only_what_it_names() -> None:
    job = declared()
    job.save()
    other = again(job)
    other.update_attrs(share=0.5)
    job.update_attrs(offset=3)
    assert (head_of(job)["offset"], head_of(job)["share"]) == (3, 0.5)
    assert job.offset == 3


def test_update_attrs_runs_the_validators_and_changes_nothing_on_a_refusal() -> None:
    class Checked(zerog.BaseJob):
        JOB_TYPE = "checked"

        class State(Schema):
            level = fields.Integer(load_default=0, validate=validate.Range(max=3))

        level: int

        def run(self) -> None: ...

    job = Checked(MemoryDatastore(), PlainQueue())
    job.save()
    with pytest.raises(ValidationError) as caught:
        job.update_attrs(level=4)
    assert list(caught.value.normalized_messages()) == ["level"]  # type: ignore[no-untyped-call]
    assert job.level == 0 == head_of(job)["level"]
    # What is stored already is read, whatever a validator requires today.
    job.datastore.mutate(job.key(), [Set("level", 9)])
    assert again(job).level == 9


def test_a_change_that_may_wait_rides_with_the_next_write(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    before = app.get_job(job.uuid).cas
    job.update_attrs(offset=8, flush=False)
    assert job.offset == 8
    assert app.get_job(job.uuid).cas == before
    job.record_event("now")
    assert app.get_job(job.uuid).offset == 8


def test_a_change_that_waits_survives_a_refused_write_and_a_reload() -> None:
    job = declared()
    job.save()
    job.update_attrs(offset=8, flush=False)
    again(job).update_attrs(share=0.5)
    job.notes = ["x"]
    with pytest.raises(zerog.CasMismatch):
        job.save()
    job.reload()
    assert (job.offset, job.share) == (8, 0.5)
    job.record_event("go")
    assert head_of(job)["offset"] == 8


def test_a_lost_answer_is_reported_and_the_change_is_not_sent_twice() -> None:
    class Losing(MemoryDatastore):
        lose = False

        def mutate(self, *args: Any, **kwargs: Any) -> Any:
            answer = super().mutate(*args, **kwargs)
            if self.lose:
                self.lose = False
                raise AmbiguousWrite("timeout")
            return answer

    job = declared(Losing())
    job.save()
    job.datastore.lose = True
    with pytest.raises(AmbiguousWrite):
        job.add_to_completeness(0.25)
    job.reload()
    job.record_event("later")
    assert head_of(job)["completeness"] == 0.25


def test_reload_keeps_the_keepalive_and_attributes_outside_the_schema() -> None:
    calls: list[int] = []
    job = documented()
    job.keepalive = lambda: calls.append(1)
    job.save()
    job.scratch.append("mine")
    again(job).update_attrs(limit=99)
    job.reload()
    job.keep_alive()
    assert (job.limit, job.scratch, calls) == (99, ["mine"], [1])


def test_reload_of_a_deleted_document_raises_and_no_write_brings_it_back() -> None:
    job = declared()
    job.save()
    job.datastore.delete(job.key())
    for call in (job.reload, lambda: job.record_event("x"), lambda: job.update_attrs(offset=1)):
        with pytest.raises((JobNotFound, zerog.CasMismatch)):
            call()
    assert job.datastore.read(job.key()) is None


def test_record_change_merges_with_concurrent_writes() -> None:
    job = declared(InterferingStore())
    job.save()
    job.datastore.times = 5

    def step() -> int:
        job.offset += 1
        return job.offset

    assert job.record_change(step) == 1
    assert (head_of(job)["offset"], head_of(job)["theirs"]) == (1, 1)


def test_record_change_from_many_threads_loses_nothing(app: Any) -> None:
    uuid = app.submit("declared", {"path": "x"}).uuid

    def work() -> None:
        job = app.get_job(uuid)
        for _ in range(10):
            job.record_change(lambda: setattr(job, "offset", job.offset + 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert app.get_job(uuid).offset == 40


def test_record_change_raises_rather_than_giving_up_quietly() -> None:
    job = declared(InterferingStore())
    job.save()
    job.datastore.times = 10_000
    with pytest.raises(TooManyCollisions, match="not stored"):
        job.record_change(lambda: setattr(job, "offset", 5))
    assert head_of(job)["offset"] == 0


def test_a_collision_takes_nothing_that_was_assigned_before() -> None:
    job = declared(InterferingStore())
    job.save()
    job.share = 0.75
    job.datastore.times = 2
    job.record_change(lambda: setattr(job, "offset", 1))
    assert (head_of(job)["share"], head_of(job)["offset"]) == (0.75, 1)


def test_two_values_for_one_field_are_a_conflict_and_not_a_choice() -> None:
    job = declared(InterferingStore(1, lambda store, key: MemoryDatastore.mutate(store, key, [Set("share", 0.1)])))
    job.datastore.times = 0
    job.save()
    job.share = 0.75
    job.datastore.change = lambda store, key: store.mutate(key, [Set("share", 0.1)])
    job.datastore.times = 1
    with pytest.raises(zerog.CasMismatch, match="share"):
        job.record_change(lambda: setattr(job, "offset", 1))
    assert head_of(job)["share"] == 0.1


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "output"),
        ({"a": [1, {"b": float("inf")}]}, r"output\.a\[1\]\.b"),
        ({"a": object()}, r"output\.a"),
        ({1: "x"}, "output"),
        ((1, 2), "output"),
        (b"raw", "output"),
        ("\ud800", "output"),
        (2**70, "output"),
    ],
)
def test_what_json_can_t_hold_is_refused_at_the_line_that_wrote_it(app: Any, value: Any, path: str) -> None:
    job = app.submit("declared", {"path": "x"})
    before = app.datastore.read(job.key())
    with pytest.raises(InvalidValue, match=path):
        job.update_attrs(output=value)
    with pytest.raises(InvalidValue, match=path):
        job.update_attrs(output=value, flush=False)
    job.record_event("still works")
    assert app.datastore.read(job.key())["output"] == before["output"]


def test_too_deep_and_too_large_are_refused(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidValue, match="levels deep"):
        job.update_attrs(output=deep)
    with pytest.raises(InvalidValue, match="bytes"):
        job.update_attrs(output="x" * 5_000_000)
    assert app.get_job(job.uuid).output is None


def test_a_field_refuses_what_it_could_not_load_again() -> None:
    job = declared()
    job.save()
    for wrong in (float("nan"), "a lot", object()):
        with pytest.raises((InvalidValue, ValidationError), match="share"):
            job.update_attrs(share=wrong)
    job.share = float("nan")
    with pytest.raises(InvalidValue, match="share"):
        job.save()
    assert again(job).share == 0.0
