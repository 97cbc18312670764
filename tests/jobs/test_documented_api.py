"""The documented API to the letter: each test names the method or class of ``zerog.jobs.base`` whose text it holds."""

from __future__ import annotations

import copy
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import Declared, Documented, PlainQueue, PlainStore, again, declared, documented, head_of
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.base import BaseJobSchema
from zerog.jobs.document import document_of
from zerog.jobs.error import Error, ErrorSchema
from zerog.records.operations import Set

Keys = dict[str, Any]


# exceptions


@pytest.mark.parametrize("name", ["ErrorContinue", "ErrorFinish", "WarningContinue", "WarningFinish"])
def test_the_four_exceptions_derive_from_exception_directly(name: str) -> None:
    """``exception ErrorContinue``: "Bases: Exception", and so the other three."""
    signal = getattr(zerog, name)
    assert signal.__bases__ == (Exception,)
    raised = signal("gone", code=404, delay=3, recorded=True)
    assert (raised.args, raised.code, raised.delay, raised.recorded) == (("gone",), 404, 3, True)
    assert signal().code == zerog.INTERNAL_ERROR


# __init__ and SCHEMA


class OptionalSchema(zerog.BaseJobSchema):
    requiredField = fields.String(required=True)
    optionalField = fields.String()
    number = fields.Integer()
    nested = fields.Nested(Schema.from_dict({"a": fields.Integer()}))


class Example(zerog.BaseJob):
    """The example of the reference's ``__init__``."""

    JOB_TYPE = "example"
    SCHEMA = OptionalSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.requiredField = kwargs["requiredField"]
        self.optionalField = kwargs.get("optionalField", "default")

    def run(self) -> int:
        return 200


def test_init_loads_optional_fields_by_get(app: Any) -> None:
    """``__init__``: "Optional fields need to be loaded using the dictionary's get method"."""
    app.register(Example)
    job = app.submit("example", {"requiredField": "r"})
    assert (job.requiredField, job.optionalField) == ("r", "default")
    stored = app.datastore.read(job.key())
    assert stored["optionalField"] == "default"
    assert "number" not in stored
    assert app.get_job(job.uuid).optionalField == "default"


def test_dump_of_unset_optional_fields_can_be_loaded() -> None:
    """``dump``: "Serialize the job according to the job schema", whose ``load`` takes it, saved or not."""
    job = Example(PlainStore(), PlainQueue(), requiredField="r")
    for _ in range(2):
        loaded = Example.SCHEMA().load(job.dump())
        assert (loaded["requiredField"], loaded["optionalField"]) == ("r", "default")
        assert "number" not in loaded
        job.save()
    twin = Example(job.datastore, job.queue, **Example.SCHEMA().load(job.dump()))
    twin.update_attrs(number=5)
    assert again(twin).number == 5
    assert Example.SCHEMA().load(head_of(job))["number"] == 5


def test_a_field_that_is_unset_again_leaves_the_document() -> None:
    """``save`` of an optional field set to None: the document can still be loaded."""
    job = Example(PlainStore(), PlainQueue(), requiredField="r", number=5)
    job.save()
    job.number = None
    job.save()
    assert "number" not in head_of(job)
    assert again(job).number is None
    job.save()
    job.number = 6
    job.save()
    assert again(job).number == 6


@pytest.mark.parametrize("name", ["flush", "self", "datastore", "queue", "keepalive"])
def test_a_field_named_like_a_parameter_is_refused_at_registration(name: str) -> None:
    """``update_attrs(**kwargs)`` and ``__init__``: such a field could never be given by name."""
    for group in ("Params", "State", "SCHEMA"):
        base = zerog.BaseJobSchema if group == "SCHEMA" else Schema
        made = type("Fields", (base,), {name: fields.Integer(load_default=1)})
        job_class = type("Taken", (Declared,), {"JOB_TYPE": "taken", "Params": None, "State": None, group: made})
        with pytest.raises(InvalidJobClass, match=f"{name} is (a parameter|a name) of .*call it job{name.title()}"):
            zerog.JobRegistry().add_classes([job_class])


def test_a_field_named_like_a_parameter_of_an_overridden_update_attrs_is_refused() -> None:
    """``update_attrs`` of the class itself counts, too."""

    class Quiet(Declared):
        JOB_TYPE = "quiet"

        class Params(Schema):
            quiet = fields.Boolean()

        def update_attrs(self, *, quiet: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
            super().update_attrs(**kwargs)

    with pytest.raises(InvalidJobClass, match=r"quiet is a parameter of .*Quiet\.update_attrs"):
        zerog.JobRegistry().add_classes([Quiet])


def test_an_init_that_records_something_leaves_the_job_to_be_submitted_and_loaded(app: Any) -> None:
    """``__init__`` of a subclass may call what stores: the job is stored by its submit, once."""

    class Eager(Declared):
        JOB_TYPE = "eager"

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.update_attrs(share=0.5)
            self.record_event("made")

        def run(self) -> int:
            return 200

    app.register(Eager)
    uuid = app.submit("eager", {"path": "x"}).uuid
    zerog.Worker(app).run(burst=True)
    assert app.progress(uuid)["status"] == "succeeded"
    assert (app.get_job(uuid).share, app.info(uuid)["events"][0]["msg"]) == (0.5, "made")


# what is shown


def test_dump_info_and_get_data_share_nothing_with_the_job(app: Any) -> None:
    """``dump``, ``info``, ``progress`` and ``get_data``: "native Python data types" that are the caller's."""
    job = app.submit("declared", {"path": "x"}, headers={"a": "b"})
    job.update_attrs(notes=["n"], output={"deep": [1]})
    job._data = {"k": [1]}
    job.record_error(500, "x")
    job.record_event("e")
    before = copy.deepcopy(job.dump())
    for shown in (job.dump(), job.info(), job.progress(), job.get_data(), {"errors": [job.errors[0].data]}):
        _spoil(shown)
    assert job.dump() == before
    job.save()
    assert {**app.get_job(job.uuid).dump(), "cas": before["cas"]} == before


def _spoil(value: Any) -> None:
    parts = list(value.values()) if isinstance(value, dict) else value
    for part in parts:
        if isinstance(part, (dict, list)):
            _spoil(part)
    value.clear()


@pytest.mark.parametrize(
    ("output", "data"), [(None, {}), ({}, {}), ({"a": 1}, {"a": 1}), ("text", {"output": "text"}), (0, {"output": 0})]
)
def test_get_data_answers_a_dict(output: Any, data: Keys) -> None:
    """``get_data``: "Returns output data. Return type dict", also without output."""
    job = declared()
    job.update_attrs(output=output)
    assert job.get_data() == data == again(job).get_data()


@pytest.mark.parametrize(("given", "shown"), [(7, 1.0), (-3, 0.0), (0.4, 0.4), (2**40, 1.0)])
def test_completeness_is_clamped_wherever_it_comes_from(given: float, shown: float) -> None:
    """``set_completeness``: "Clamps value to a range of 0.0 to 1.0"."""
    made = documented(completeness=given)
    assigned = documented()
    assigned.save()
    assigned.completeness = given
    assigned.save()
    loaded = documented()
    loaded.save()
    loaded.datastore.mutate(loaded.key(), [Set("completeness", given)])
    app = zerog.App(datastore=loaded.datastore, queue=loaded.queue)
    assert app.progress(loaded.uuid)["completeness"] == shown == app.info(loaded.uuid)["completeness"]
    assert [head["completeness"] for head in app.jobs()] == [shown]
    loaded.reload()
    made.save()
    for job in (made, assigned, loaded, again(loaded)):
        assert job.completeness == shown == job.progress()["completeness"] == job.dump()["completeness"]
    assert head_of(made)["completeness"] == shown == head_of(assigned)["completeness"]
    loaded.save()
    assert head_of(loaded)["completeness"] == shown


# datetimes


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_naive_datetimes_mean_utc_everywhere(zone: str, monkeypatch: pytest.MonkeyPatch, app: Any) -> None:
    """``createdAt (datetime)``, ``Error(timestamp=…)``, schemas and ``submit(at=…)``, in any zone of the machine."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        naive, aware = datetime(2030, 1, 2, 3, 4), datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
        text = "2030-01-02T03:04:00.000000+00:00"
        assert documented(createdAt=naive).dump()["createdAt"] == text
        assert Error(timestamp=naive).dump()["timestamp"] == text
        assert BaseJobSchema().dump({"createdAt": naive})["createdAt"] == text
        assert BaseJobSchema().load({"createdAt": "2030-01-02T03:04:00"})["createdAt"] == aware
        assert ErrorSchema().load({"timestamp": "2030-01-02T03:04:00", "errorCode": 1, "msg": ""})["timestamp"] == aware
        east = aware.astimezone(timezone(timedelta(hours=5)))
        assert BaseJobSchema().dump({"createdAt": east})["createdAt"] == text
        submitted = app.submit("declared", {"path": "x"}, at=naive)
        assert submitted.notBefore == pytest.approx(aware, abs=timedelta(seconds=5))
        job = documented(events=[{"timestamp": naive, "msg": "m"}])
        assert job.events[0]["timestamp"] == aware
        head = {**documented().dump(), "createdAt": "2030-01-02T03:04:00"}
        assert Documented(PlainStore(), PlainQueue(), **Documented.SCHEMA().load(head)).createdAt == aware
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_naive_value_of_an_aware_field_means_utc() -> None:
    """``save`` of a field of the job's own: what is stored can be loaded, as UTC."""

    class When(zerog.BaseJob):
        JOB_TYPE = "when"

        class State(Schema):
            when = fields.AwareDateTime(load_default=None)
            each = fields.List(fields.AwareDateTime(), load_default=list)

        def run(self) -> int:
            return 200

    job: Any = When(PlainStore(), PlainQueue())
    job.when, job.each = datetime(2030, 1, 2), [datetime(2030, 1, 3)]
    job.save()
    loaded = again(job)
    assert (loaded.when, loaded.each) == (datetime(2030, 1, 2, tzinfo=UTC), [datetime(2030, 1, 3, tzinfo=UTC)])


# enqueue


class KeywordQueue(PlainQueue):
    """A queue client with an extra option."""

    answers: Any = 1

    def put(self, uuid: str, *, delay: float = 0, priority: int = 0, colour: str = "red", tags: Any = ()) -> Any:
        super().put(uuid, delay=delay, priority=priority, colour=colour, tags=tags)
        return self.answers


def test_enqueue_passes_its_arguments_to_the_queue_and_keeps_them() -> None:
    """``enqueue``: "keyword arguments that will be passed to the queueing client"; ``queueKwargs`` holds them."""
    queue = KeywordQueue()
    job = documented(PlainStore(), queue)
    given = {"delay": 2.5, "priority": 3, "colour": "blue", "tags": ["a"]}
    job.enqueue(**given)
    assert queue.bodies == [(job.uuid, given)]
    assert job.queueKwargs == given == head_of(job)["queueKwargs"]
    job.enqueue(colour="green")
    assert queue.bodies[1] == (job.uuid, {**given, "delay": 0, "colour": "green"})
    assert head_of(job)["queueKwargs"] == {"priority": 3, "colour": "green", "tags": ["a"]}
    document_of(job).engine.queue_named("default")
    zerog.App(datastore=job.datastore, queue=queue).engine._put(head_of(job), 0)
    assert queue.bodies[2] == queue.bodies[1]


@pytest.mark.parametrize("name", ["color", "uuid", "ahead"])
def test_enqueue_refuses_what_the_queue_does_not_take(name: str) -> None:
    """``enqueue`` with a name that the queue's ``put`` doesn't have: nothing is stored."""
    job = documented(PlainStore(), KeywordQueue())
    with pytest.raises(TypeError, match=f"{name}='x'.*Nothing was stored"):
        job.enqueue(**{name: "x"})
    with pytest.raises(InvalidValue, match=r"enqueue\(\) got"):
        job.enqueue(tags={1, 2})
    assert job.datastore.documents == {}


@pytest.mark.parametrize(
    ("answer", "identity"), [(None, -1), (False, -1), (0, 0), ("q1", "q1"), (True, "True"), (("a", 1), "('a', 1)")]
)
def test_enqueue_sets_the_queue_job_id(answer: Any, identity: Any) -> None:
    """``enqueue``: "Sets it to -1 if enqueueing fails", as a ``put`` that answers None has."""
    queue = KeywordQueue()
    queue.answers = answer
    job = documented(PlainStore(), queue)
    job.enqueue()
    assert job.queueJobId == identity == head_of(job)["queueJobId"]
    assert job.queueState == ("pending" if identity == -1 else "queued") == head_of(job)["queueState"]


# continue_running


@pytest.mark.parametrize("recorded", [True, False])
def test_continue_running_is_called_after_a_warning(app: Any, recorded: bool) -> None:
    """``continue_running``: "called by the worker after a job is interrupted by an exception"."""

    class Warns(Declared):
        JOB_TYPE = "warns"
        MAX_ERRORS = 1

        def run(self) -> int:
            if recorded:
                self.raise_warning_continue(200, "not yet")
            raise zerog.WarningContinue("not yet")

        def continue_running(self) -> int:
            return super().continue_running() if len(self.warnings) < 3 else 503

    app.register(Warns)
    uuid = app.submit("warns", {"path": "x"}).uuid
    zerog.Worker(app).run(burst=True)
    info = app.info(uuid)
    assert (info["status"], info["result"], info["attempts"], len(info["warnings"])) == ("failed", 503, 3, 3)
    assert info["errors"] == []


def test_by_default_warnings_go_on_up_to_max_continues(app: Any) -> None:
    """``continue_running``: "Default is to terminate after self.MAX_ERRORs errors", and a warning is none."""

    class Warns(Declared):
        JOB_TYPE = "warns"
        MAX_CONTINUES = 5

        def run(self) -> int:
            self.raise_warning_continue(200, "not yet")

    app.register(Warns)
    uuid = app.submit("warns", {"path": "x"}).uuid
    zerog.Worker(app).run(burst=True)
    info = app.info(uuid)
    assert (info["status"], info["attempts"], len(info["warnings"])) == ("failed", 6, 6)
    assert "MAX_CONTINUES 5" in info["errors"][0]["msg"]
