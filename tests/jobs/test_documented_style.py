"""A class in the documented style, with overrides, through a real worker on every engine."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import fields

import zerog


class ImportSchema(zerog.BaseJobSchema):
    source = fields.String(required=True)
    chunk = fields.Integer()
    done = fields.List(fields.String())


class Import(zerog.BaseJob):
    """Warns once, fails once, then finishes; each override leaves its trace in the document."""

    JOB_TYPE = "import"
    SCHEMA = ImportSchema
    MAX_ERRORS = 5
    BACKOFF = staticmethod(lambda errors, error: 0.0)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source = kwargs["source"]
        self.chunk = kwargs.get("chunk", 10)
        self.done = kwargs.get("done", [])

    def run(self) -> Any:
        self.update_attrs(done=[*self.done, f"{self.source}-{len(self.done)}"])
        self.set_tick_value(0.2)
        self.tick()
        if len(self.done) == 1:
            self.raise_warning_continue(200, "half of it")
        if len(self.done) == 2:
            raise KeyError("missing")
        self.job_log_info("done")
        self.record_result(201)

    def get_data(self) -> dict[str, Any]:
        return {**super().get_data(), "done": list(self.done)}

    def continue_running(self) -> int:
        self.record_event(f"asked after {len(self.errors)} errors and {len(self.warnings)} warnings")
        return super().continue_running()

    def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        code = 404 if isinstance(exception, KeyError) else errorCode
        super().record_error(code, f"{self.source}: {msg}", exception)


@pytest.fixture
def app(adapter_app: zerog.App) -> zerog.App:
    """An app on each adapter, with the class."""
    adapter_app.register(Import)
    return adapter_app


def test_a_documented_class_is_submitted_run_and_settled(app: zerog.App) -> None:
    """``__init__``, ``get_data``, ``continue_running``, ``record_error``, and what the reference states of each."""
    job = app.registry.make_job({"source": "a"}, app.datastore, app.queue, jobType="import")
    job.record_event("stored before it was enqueued")
    job.enqueue(priority=3)
    assert app.get_job(job.uuid, Import).chunk == 10
    zerog.Worker(app).run(burst=True)
    job.reload()
    info = job.info()
    assert (info["status"], info["result"], info["completeness"], info["attempts"]) == ("succeeded", 201, 1.0, 3)
    assert [event["msg"] for event in info["events"]] == [
        "stored before it was enqueued",
        "asked after 0 errors and 1 warnings",
        "asked after 1 errors and 1 warnings",
        "done",
    ]
    assert [warning["msg"] for warning in info["warnings"]] == ["half of it"]
    assert [(error["errorCode"], error["msg"], error["type"]) for error in info["errors"]] == [
        (404, "a: KeyError: 'missing'", "KeyError")
    ]
    assert job.get_data() == {"done": ["a-0", "a-1", "a-2"]} == app.get_job(job.uuid).get_data()
    assert job.queueKwargs == {"priority": 3}
    loaded = Import.SCHEMA().load(job.dump())
    assert (loaded["source"], loaded["chunk"], loaded["resultCode"]) == ("a", 10, 201)


def test_a_document_that_is_loaded_by_its_schema_makes_the_same_job(app: zerog.App) -> None:
    """``SCHEMA().load(document)`` and ``__init__``, as the reference describes them."""
    job = app.submit(Import, {"source": "a", "chunk": 5})
    document, token = app.datastore.read_with_cas(job.key())
    twin = Import(app.datastore, app.queue, **Import.SCHEMA().load({**document, "cas": token}))
    assert twin.dump() == app.get_job(job.uuid).dump()
    twin.chunk = 6
    twin.save()
    with pytest.raises(app.datastore.casException):
        job.save()
    job.reload()
    assert job.chunk == 6
