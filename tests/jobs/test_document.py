"""The document: its fields, the schemas over it, what is carried through a load and a save."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from marshmallow import ValidationError

import zerog
from tests.jobs.builders import Declared, Documented, PlainQueue, PlainStore, again, declared, documented, head_of
from zerog.jobs.base import BaseJobSchema, make_key
from zerog.jobs.error import Error, ErrorSchema
from zerog.jobs.event import EventSchema
from zerog.jobs.warning import WarningSchema

DOCUMENTED_FIELDS = [
    "documentType",
    "jobType",
    "schemaVersion",
    "createdAt",
    "updatedAt",
    "cas",
    "uuid",
    "logId",
    "queueName",
    "queueKwargs",
    "queueJobId",
    "events",
    "errors",
    "warnings",
    "running",
    "errorCount",
    "completeness",
    "tickcount",
    "tickval",
    "resultCode",
]


def test_every_documented_field_is_in_the_schema_the_document_and_on_the_object(app: Any) -> None:
    job = app.submit("documented", {"path": "x"})
    document = job.dump()
    for name in DOCUMENTED_FIELDS:
        assert name in BaseJobSchema().fields
        assert name in document
        assert hasattr(job, name)
    assert document["documentType"] == "zerog_job" == zerog.BaseJob.DOCUMENT_TYPE
    assert document["jobType"] == "documented"
    assert document["schemaVersion"] == 1.0
    assert document["queueName"] == "default"
    assert document["resultCode"] == zerog.NO_RESULT == -1
    assert document["completeness"] == 0.0
    assert document["tickval"] == 0.001
    assert job.key() == make_key(job.uuid) == f"zerog_job_{job.uuid}"
    assert zerog.INTERNAL_ERROR == 500


def test_timestamps_are_aware_in_python_and_iso_in_the_document(app: Any) -> None:
    before = datetime.now(UTC)
    job = app.submit("declared", {"path": "x"})
    assert before <= job.createdAt <= job.updatedAt <= datetime.now(UTC)
    assert datetime.fromisoformat(job.dump()["createdAt"]) == job.createdAt
    assert app.get_job(job.uuid).createdAt == job.createdAt


def test_uuids_sort_by_the_time_they_were_made() -> None:
    uuids = [documented().uuid for _ in range(5)]
    assert [u[:13] for u in uuids] == sorted(u[:13] for u in uuids)
    assert all(u[14] == "7" for u in uuids)


def test_a_job_without_a_schema_of_its_own_has_the_base_schema() -> None:
    class Bare(zerog.BaseJob):
        JOB_TYPE = "bare"

        def run(self) -> int:
            return 200

    job = Bare(PlainStore(), PlainQueue())
    assert Bare.SCHEMA is zerog.BaseJobSchema
    assert zerog.BaseJobSchema().dump(job)["jobType"] == "bare"


def test_str_dumps_and_dump_agree() -> None:
    job = documented()
    assert json.loads(str(job)) == json.loads(job.dumps()) == job.dump()
    assert "\n    " in str(job)
    assert job.dumps(separators=(",", ":")).startswith('{"documentType":"zerog_job",')


def test_the_cas_is_text_when_dumped_and_loads_from_text_or_number() -> None:
    job = documented()
    assert job.cas is None
    assert job.dump()["cas"] is None
    job.save()
    assert isinstance(job.cas, str)
    assert job.cas == str(job.datastore.read_with_cas(job.key())[1]) == job.dump()["cas"]
    big = 2**63 - 1
    assert BaseJobSchema(only=["cas"]).load({"cas": str(big)}) == BaseJobSchema(only=["cas"]).load({"cas": big})
    assert BaseJobSchema(only=["cas"]).dump({"cas": big}) == {"cas": str(big)}
    for wrong in (True, 1.5, "x", -1):
        with pytest.raises(ValidationError, match="Not a token"):
            BaseJobSchema(only=["cas"]).load({"cas": wrong})


def test_a_cas_given_by_hand_is_never_trusted_over_the_datastore() -> None:
    job = documented()
    job.save()
    stale, fresh = "12345", int(job.cas or 0)
    loaded = Documented.SCHEMA().load(job.dump())
    with pytest.raises(job.datastore.casException):
        Documented(job.datastore, job.queue, **{**loaded, "cas": stale}).save()
    by_hand = Documented(job.datastore, job.queue, **{**loaded, "cas": fresh, "limit": 9})
    by_hand.save()
    assert head_of(job)["limit"] == 9


def test_the_schema_version_is_a_number_in_the_document_and_text_or_number_elsewhere() -> None:
    schema = BaseJobSchema(only=["schemaVersion"])
    assert schema.load({"schemaVersion": "2.0"}) == schema.load({"schemaVersion": 2}) == {"schemaVersion": 2.0}
    assert schema.dump({"schemaVersion": "2.0"}) == {"schemaVersion": 2.0}
    assert type(declared().dump()["schemaVersion"]) is float
    with pytest.raises(ValidationError, match=r"1\.10"):
        schema.load({"schemaVersion": "1.10"})


@pytest.mark.parametrize("schema", [BaseJobSchema, EventSchema, WarningSchema, ErrorSchema])
def test_the_schemas_take_the_documented_arguments_and_carry_unknown_fields(schema: Any) -> None:
    made = schema(
        only=None, exclude=(), many=False, context={"a": 1}, load_only=(), dump_only=(), partial=True, unknown=None
    )
    assert made.context == {"a": 1}
    assert made.load({"addedLater": [1]}) == {"addedLater": [1]}


def test_unknown_fields_survive_a_load_and_a_save(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    document, token = app.datastore.read_with_cas(job.key())
    app.datastore.set_with_cas(job.key(), {**document, "addedLater": {"deep": [1, None]}}, token)
    loaded = app.get_job(job.uuid)
    loaded.offset = 5
    loaded.save()
    loaded.reload()
    loaded.record_event("seen")
    stored = app.datastore.read(job.key())
    assert stored["addedLater"] == {"deep": [1, None]} == loaded.dump()["addedLater"]
    assert stored["offset"] == 5


def test_a_schema_load_of_a_stored_document_makes_a_job_with_its_unknown_fields() -> None:
    job = documented()
    job.save()
    token = job.datastore.read_with_cas(job.key())[1]
    job.datastore.set_with_cas(job.key(), {**head_of(job), "addedLater": 1}, token)
    document, token = job.datastore.read_with_cas(job.key())
    again_ = Documented(job.datastore, job.queue, **Documented.SCHEMA().load({**document, "cas": token}))
    again_.save()
    assert head_of(job)["addedLater"] == 1


def test_an_argument_that_is_no_field_is_refused_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"no field 'ofset'; did you mean offset\?"):
        Declared(PlainStore(), PlainQueue(), path="x", ofset=3)


def test_the_class_s_own_default_serves_documents_that_lack_an_optional_field() -> None:
    job = documented()
    job.save()
    document, token = job.datastore.read_with_cas(job.key())
    del document["limit"]
    job.datastore.set_with_cas(job.key(), document, token)
    assert again(job).limit == 7


def test_defaults_are_not_shared_between_jobs() -> None:
    first, second = declared(), declared()
    first.notes.append("mine")
    assert second.notes == []


def test_an_error_object_has_the_fields_of_its_schema() -> None:
    error = Error(errorCode=404, msg="gone")
    assert (error.errorCode, error.msg, error.type, error.traceback, error.attempt) == (404, "gone", None, None, None)
    assert error.timestamp.tzinfo is not None
    assert ErrorSchema().load(error.dump())["errorCode"] == 404
    assert Error(msg="x", later=1).dump()["later"] == 1
    assert "404" in repr(error)


def test_plain_objects_serve_as_datastore_and_queue() -> None:
    store, queue = PlainStore(), PlainQueue()
    job = documented(store, queue)
    job.enqueue(priority=3, ttr=30)
    assert queue.bodies == [(job.uuid, {"priority": 3, "ttr": 30})]
    assert job.queueJobId == 1
    other = again(job)
    other.record_event("from elsewhere")
    other.update_attrs(limit=3)
    job.add_to_completeness(0.25)
    stored = store.documents[job.key()][0]
    assert stored["queueState"] == "queued"
    assert stored["limit"] == 3
    assert stored["completeness"] == 0.25
    assert [event["msg"] for event in stored["events"]] == ["from elsewhere"]
    other.limit = 9
    with pytest.raises(PlainStore.casException):
        other.save()


def test_what_is_no_datastore_or_queue_is_named() -> None:
    with pytest.raises(TypeError, match="has no read_with_cas, set_with_cas, casException, lockedException"):
        documented(object(), PlainQueue()).save()
    with pytest.raises(TypeError, match="no queue"):
        documented(PlainStore(), object()).save()
