"""``save`` and ``reload`` to the letter of ``zerog.jobs.base``, and what stores a job that was never saved."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import Declared, Documented, PlainStore, again, documented, head_of
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.jobs.document import document_of


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        (lambda job: job.update_attrs(limit=3), "limit", 3),
        (lambda job: job.set_completeness(0.5), "completeness", 0.5),
        (lambda job: job.add_to_completeness(0.25), "completeness", 0.25),
        (lambda job: job.set_tick_value(0.5), "tickval", 0.5),
        (lambda job: (job.update_attrs(tickval=0.5, flush=False), job.tick()), "completeness", 0.5),
        (lambda job: job.record_result(204), "resultCode", 204),
        (lambda job: job.record_event("e"), "events", "e"),
        (lambda job: job.record_warning("w"), "warnings", "w"),
        (lambda job: job.record_error(404, "x"), "errors", "x"),
        (lambda job: job.job_log_info("e"), "events", "e"),
        (lambda job: job.job_log_warning("w"), "warnings", "w"),
        (lambda job: job.job_log_error(404, "x"), "errors", "x"),
    ],
)
def test_what_changes_a_job_stores_it(change: Any, field: str, expected: Any) -> None:
    """``update_attrs``: "Saves the update to the datastore", and so ``record_*`` and ``set_completeness``."""
    job = documented(PlainStore())
    change(job)
    stored = head_of(job)
    assert [entry["msg"] for entry in stored[field]] == [expected] if type(expected) is str else expected
    assert stored[field] == expected or type(expected) is str
    assert (stored["status"], job.cas) == ("new", str(job.datastore.read_with_cas(job.key())[1]))
    job.enqueue()
    assert head_of(job)["status"] == "queued"


def test_a_change_that_can_t_be_stored_changes_nothing() -> None:
    """``record_event`` and ``update_attrs`` of a new job whose uuid is already in use."""
    store = PlainStore()
    first = documented(store)
    first.save()
    second = documented(store, uuid=first.uuid)
    for change in (lambda: second.record_event("x"), lambda: second.update_attrs(limit=3)):
        with pytest.raises(PlainStore.casException):
            change()
    assert (second.events, second.limit, second.cas) == ([], 7, None)


def test_save_of_a_stale_instance_raises_though_it_changes_nothing() -> None:
    """``save``: "Fails if job was updated in the datastore since this instance was last updated"."""
    job = documented()
    job.save()
    stale = again(job)
    stale.save()
    job.record_event("x")
    with pytest.raises(job.datastore.casException, match="nothing was written"):
        stale.save()
    stale.reload()
    stale.save()
    job.datastore.delete(job.key())
    with pytest.raises(job.datastore.casException):
        job.save()


def test_save_within_a_run_of_a_stale_instance_raises(app: Any) -> None:
    """``save`` in ``run()``, after another program recorded an event."""
    seen: list[object] = []

    class Saves(Declared):
        JOB_TYPE = "saves"

        def run(self) -> int:
            self.save()
            before = head_of(self)["updatedAt"]
            app.get_job(self.uuid).record_event("from elsewhere")
            try:
                self.save()
            except self.datastore.casException:
                seen.append(before <= head_of(self)["updatedAt"])
            return 200

    app.register(Saves)
    app.submit("saves", {"path": "x"})
    zerog.Worker(app).run(burst=True)
    assert seen == [True]


def test_save_stores_what_was_changed_in_place(app: Any) -> None:
    """``save``: values that are changed in place differ from what is stored, whatever field has them."""

    class Free(zerog.BaseJob):
        JOB_TYPE = "free"

        class Params(Schema):
            raw = fields.Raw()
            table = fields.Dict()

        def run(self) -> int:
            return 200

    app.register(Free)
    job: Any = app.submit("free", {"raw": {"a": [1]}, "table": {"b": {"c": 1}}})
    for holder in (job, app.get_job(job.uuid)):
        holder.reload()
        count = len(holder.raw["a"])
        holder.raw["a"].append(2)
        holder.table["b"]["c"] += 1
        holder.headers[f"h{count}"] = "x"
        holder.save()
        stored = app.datastore.read(job.key())
        assert (len(stored["raw"]["a"]), len(stored["headers"])) == (count + 1, count)
        assert stored["table"]["b"]["c"] == count + 1
    holder.update_attrs(raw={"a": []})
    holder.raw["a"].append(3)
    holder.save()
    assert app.get_job(job.uuid).raw == {"a": [3]}


def test_reload_shows_one_state_history_included() -> None:
    """``reload``: "Reload job data from the datastore", all of it as of one moment."""
    job = documented()
    job.save()
    other = again(job)
    other.record_event("first")
    job.reload()
    other.record_event("second")
    other.update_attrs(limit=99)
    assert (job.limit, [event["msg"] for event in job.events]) == (7, ["first"])
    job.reload()
    assert (job.limit, [event["msg"] for event in job.events]) == (99, ["first", "second"])


def test_reload_keeps_what_waits() -> None:
    """``reload`` with a change that waits for the next write."""
    job = documented()
    job.save()
    job.update_attrs(limit=3, flush=False)
    document_of(job).gathered(job.record_event, "waits")
    again(job).record_event("theirs")
    job.reload()
    assert (job.limit, [event["msg"] for event in job.events]) == (3, ["theirs", "waits"])
    job.record_warning("w")
    assert [event["msg"] for event in head_of(job)["events"]] == ["theirs", "waits"]


def test_a_job_never_reloads_a_document_of_another_type() -> None:
    """``reload``, ``enqueue`` and ``__init__``: the object stays of its type."""
    job = documented()
    job.save()
    document, token = job.datastore.read_with_cas(job.key())
    job.datastore.set_with_cas(job.key(), {**document, "jobType": "declared"}, token)
    before = job.dump()
    with pytest.raises(CorruptDocument, match="is stored as a 'declared', and this object is a 'documented'"):
        job.reload()
    assert job.dump() == before
    with pytest.raises(InvalidValue, match="document of a 'declared'; expected one of a 'documented'"):
        Documented(job.datastore, job.queue, **Documented.SCHEMA().load({**before, "jobType": "declared"}))
