"""What the documented API states of each method, on every adapter; each test names the method whose text it holds."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

import zerog
from tests.jobs.builders import Declared, Documented, head_of
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.records.operations import Set


@pytest.fixture
def app(adapter_app: zerog.App) -> zerog.App:
    """An app on each adapter, with a class of each style."""
    adapter_app.register(Documented, Declared)
    return adapter_app


def unsaved(app: zerog.App, **fields: Any) -> Documented:
    """A job in the documented style that is not stored yet."""
    return Documented(app.datastore, app.queue, path="a.txt", **fields)


def again(app: zerog.App, job: zerog.BaseJob) -> Any:
    """A second object of the same document."""
    return app.get_job(job.uuid)


def test_changes_of_a_job_that_was_never_saved_store_it(app: zerog.App) -> None:
    """``update_attrs``, ``set_completeness`` and ``record_*``: "Saves the update to the datastore"."""
    for change, field in (
        (lambda job: job.update_attrs(limit=3), "limit"),
        (lambda job: job.set_completeness(0.5), "completeness"),
        (lambda job: job.record_event("e"), "events"),
        (lambda job: job.record_warning("w"), "warnings"),
        (lambda job: job.record_error(404, "x"), "errors"),
        (lambda job: job.record_result(204), "resultCode"),
    ):
        job = unsaved(app)
        change(job)
        assert again(app, job).dump() == job.dump()
        assert head_of(job)[field] not in (None, [], 0.0, 7, -1)


def test_save_of_a_stale_instance_raises(app: zerog.App) -> None:
    """``save``: "Fails if job was updated in the datastore since this instance was last updated"."""
    job = unsaved(app)
    job.save()
    stale = again(app, job)
    job.record_event("x")
    with pytest.raises(app.datastore.casException):
        stale.save()
    stale.reload()
    stale.save()


def test_reload_shows_one_state_of_the_document(app: zerog.App) -> None:
    """``reload``: "Reload job data from the datastore", its history included, and of no other type."""
    job = unsaved(app)
    job.save()
    other = again(app, job)
    other.update_attrs(limit=99)
    other.record_warning("w")
    job.reload()
    assert (job.limit, [entry["msg"] for entry in job.warnings]) == (99, ["w"])
    assert job.dump() == other.dump()
    app.datastore.mutate(job.key(), [Set("jobType", "declared")])
    with pytest.raises(CorruptDocument, match="stored as a 'declared'"):
        job.reload()
    assert job.dump() == other.dump()


def test_get_data_is_a_dict_without_output_too(app: zerog.App) -> None:
    """``get_data``: "Returns output data. Return type dict"."""
    job = unsaved(app)
    job.save()
    assert job.get_data() == again(app, job).get_data() == {}
    job.update_attrs(output={"rows": [1]})
    assert job.get_data() == again(app, job).get_data() == {"rows": [1]}


def test_what_is_shown_shares_nothing_with_the_job(app: zerog.App) -> None:
    """``dump``, ``info``, ``progress`` and ``get_data``: "native Python data types" that are the caller's."""
    job = unsaved(app)
    job.update_attrs(output={"rows": [1]})
    job.record_error(404, "x")
    for read in (job, again(app, job)):
        before = copy.deepcopy(read.dump())
        for shown in (read.dump(), read.info(), read.get_data()):
            for value in shown.values():
                if isinstance(value, (list, dict)):
                    value.clear()
        assert read.dump() == before


def test_a_dump_can_be_loaded_by_the_schema(app: zerog.App) -> None:
    """``dump``: "Serialize the job according to the job schema", whose ``load`` takes it; of a token, too."""
    job = unsaved(app)
    for _ in range(2):
        loaded = Documented.SCHEMA().load(again(app, job).dump() if job.cas else job.dump())
        assert (loaded["path"], loaded["uuid"], loaded["cas"]) == ("a.txt", job.uuid, job.cas)
        job.save()
    twin = Documented(app.datastore, app.queue, **Documented.SCHEMA().load(job.dump()))
    twin.update_attrs(limit=4)
    assert again(app, job).limit == 4


def test_completeness_is_clamped_wherever_it_comes_from(app: zerog.App) -> None:
    """``set_completeness`` and ``add_to_completeness``: "clamped to a range of 0.0 to 1.0"."""
    job = unsaved(app)
    for change in (lambda: job.set_completeness(7), lambda: job.add_to_completeness(9)):
        change()
        assert again(app, job).completeness == job.completeness == 1.0
    job.set_completeness(-2)
    assert again(app, job).completeness == 0.0
    app.datastore.mutate(job.key(), [Set("completeness", 40)])
    assert app.progress(job.uuid)["completeness"] == again(app, job).dump()["completeness"] == 1.0


def test_naive_datetimes_mean_utc(app: zerog.App) -> None:
    """``createdAt (datetime)`` and the times of entries."""
    job = unsaved(app, createdAt=datetime(2030, 1, 2, 3, 4), events=[{"timestamp": datetime(2030, 1, 3), "msg": "m"}])
    job.save()
    read = again(app, job)
    assert read.createdAt == datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    assert read.events[0]["timestamp"] == datetime(2030, 1, 3, tzinfo=UTC)


def test_enqueue_keeps_its_arguments(app: zerog.App) -> None:
    """``enqueue``: "keyword arguments that will be passed to the queueing client", and ``queueJobId``."""
    job = unsaved(app)
    with pytest.raises(TypeError, match="colour"):
        job.enqueue(colour="blue")
    with pytest.raises(InvalidValue):
        job.enqueue(priority="high")
    assert job.cas is None
    job.enqueue(priority=3, delay=60)
    read = again(app, job)
    assert (read.queueKwargs, read.status) == ({"priority": 3, "delay": 60}, "scheduled")
    assert read.queueJobId not in (None, -1)


@pytest.mark.parametrize("ways", [("warning",), ("error", "exception"), ("exception", "warning", "error")])
def test_continue_running_is_asked_after_every_interruption(app: zerog.App, ways: tuple[str, ...]) -> None:
    """``continue_running``: "called by the worker after a job is interrupted by an exception"."""
    asked: list[tuple[int, int]] = []

    class Interrupted(Declared):
        JOB_TYPE = "interrupted"
        BACKOFF = staticmethod(lambda errors, error: 0.0)

        def run(self) -> int:
            if self.offset == len(ways):
                return 201
            self.update_attrs(offset=self.offset + 1)
            way = ways[self.offset - 1]
            if way == "warning":
                self.raise_warning_continue(200, "w")
            if way == "error":
                self.raise_error_continue(500, "e")
            raise KeyError(way)

        def continue_running(self) -> int:
            asked.append((len(self.warnings), len(self.errors)))
            return zerog.NO_RESULT

    app.register(Interrupted)
    uuid = app.submit("interrupted", {"path": "x"}).uuid
    zerog.Worker(app).run(burst=True)
    assert (app.progress(uuid)["result"], len(asked)) == (201, len(ways))
    assert asked[-1] == (ways.count("warning"), len(ways) - ways.count("warning"))
