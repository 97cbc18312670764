"""The registry: which class runs what, and what it refuses."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import zerog
from tests.jobs.builders import Declared, Documented, PlainQueue
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.exceptions import (
    CorruptDocument,
    DuplicateJobType,
    InvalidJobClass,
    InvalidUuid,
    JobNotFound,
    UnknownJobType,
)
from zerog.records.fields import DOCUMENTED, PROTECTED


@pytest.fixture
def registry() -> zerog.JobRegistry:
    made = zerog.JobRegistry()
    made.add_classes([Declared, Documented])
    return made


def make(registry: zerog.JobRegistry, data: Any, **more: Any) -> Any:
    return registry.make_job(data, MemoryDatastore(), PlainQueue(), **more)


def test_classes_are_found_by_type(registry: zerog.JobRegistry) -> None:
    assert registry.get_registered_classes() == {"declared": Declared, "documented": Documented}
    registry.add_classes([Declared])
    registry.get_registered_classes().clear()
    assert len(registry.get_registered_classes()) == 2


def test_two_classes_of_one_type_are_refused_naming_both_and_nothing_is_registered() -> None:
    class Twin(zerog.BaseJob):
        JOB_TYPE = "declared"

        def run(self) -> None: ...

    registry = zerog.JobRegistry()
    with pytest.raises(DuplicateJobType) as caught:
        registry.add_classes([Documented, Declared, Twin])
    assert "tests.jobs.builders.Declared" in str(caught.value)
    assert "unregister(" in str(caught.value)
    assert "test_registry" in str(caught.value)
    assert "Twin" in str(caught.value)
    assert registry.get_registered_classes() == {}
    registry.add_classes([Declared])
    with pytest.raises(DuplicateJobType):
        registry.add_classes([Documented, Twin])
    assert list(registry.get_registered_classes()) == ["declared"]


@pytest.mark.parametrize("wrong", [object, "Declared", None, Schema])
def test_what_is_no_job_class_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJobClass, match="no subclass of BaseJob"):
        zerog.JobRegistry().add_classes([Declared, wrong])
    with pytest.raises(InvalidJobClass, match="a list of classes"):
        zerog.JobRegistry().add_classes(Declared)  # type: ignore[arg-type]


def test_an_unknown_type_names_the_known_ones(registry: zerog.JobRegistry) -> None:
    with pytest.raises(UnknownJobType, match=r"'declarde'; did you mean 'declared'\? Known: declared, documented\."):
        make(registry, {"jobType": "declarde", "path": "x"})
    with pytest.raises(UnknownJobType, match=r"type None\. Known"):
        make(registry, {"path": "x"})
    with pytest.raises(UnknownJobType):
        make(registry, {"jobType": ["declared"]})
    with pytest.raises(UnknownJobType, match="Known: none"):
        make(zerog.JobRegistry(), {"jobType": "x"})


def test_make_job_makes_an_unsaved_job(registry: zerog.JobRegistry) -> None:
    for data, more in (
        ({"jobType": "declared", "path": "x"}, {}),
        ({"path": "x"}, {"jobType": "declared"}),
        ({"jobType": "declared", "path": "x"}, {"jobType": "declared"}),
    ):
        job = make(registry, data, **more)
        assert (type(job), job.path, job.cas, job.status) == (Declared, "x", None, "new")
    with pytest.raises(ValidationError, match="set by ZeroG"):
        make(registry, {"jobType": "documented", "path": "x"}, jobType="declared")


def test_messages_come_by_field(registry: zerog.JobRegistry) -> None:
    with pytest.raises(ValidationError) as caught:
        make(registry, {"jobType": "documented", "limit": "many", "pth": 1})
    assert set(caught.value.normalized_messages()) == {"path", "limit", "pth"}


@pytest.mark.parametrize("data", [None, [], "declared", 5])
def test_parameters_are_an_object(registry: zerog.JobRegistry, data: Any) -> None:
    with pytest.raises(ValidationError, match="expected an object of parameters"):
        make(registry, data, jobType="declared")


@pytest.mark.parametrize("name", sorted((PROTECTED | DOCUMENTED) - {"jobType"}))
@pytest.mark.parametrize("job_type", ["declared", "documented"])
def test_a_client_sets_no_field_of_the_engine(registry: zerog.JobRegistry, job_type: str, name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(registry, {"jobType": job_type, "path": "x", name: 200})
    assert caught.value.messages == {name: ["is set by ZeroG and can't be given by a client."]}


def test_get_job_distinguishes_what_can_be_wrong(registry: zerog.JobRegistry) -> None:
    store = MemoryDatastore()
    job = Declared(store, PlainQueue(), path="x")
    for wrong in ("", "no uuid", job.uuid.upper() + "x", None, 5, "../../etc/passwd"):
        with pytest.raises(InvalidUuid):
            registry.get_job(wrong, store, PlainQueue())  # type: ignore[arg-type]
    with pytest.raises(JobNotFound, match=job.uuid):
        registry.get_job(job.uuid, store, PlainQueue())
    job.save()
    assert registry.get_job(job.uuid, store, PlainQueue(), keepalive=lambda: 5).keepalive() == 5  # type: ignore[misc]
    with pytest.raises(UnknownJobType, match="'declared'"):
        zerog.JobRegistry().get_job(job.uuid, store, PlainQueue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documentType": "user"}, "is of the type 'user'"),
        ({"status": "done"}, "has the status 'done'"),
        ({"uuid": "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"}, "names itself"),
        ({"status": "running"}, "and the owner None"),
        ({"epoch": "1"}, "has epoch '1'"),
        ({"resultCode": None}, "has resultCode None"),
        ({"queueKwargs": None}, "has queueKwargs None"),
        ({"completeness": "x"}, "has completeness 'x'"),
        ({"createdAt": "yesterday"}, "has createdAt 'yesterday'"),
        ({"offset": "far"}, "offset='far', which is no Integer"),
        ({"path": [1]}, r"path=[1], which is no String"),
    ],
)
def test_a_document_that_makes_no_sense_is_named_and_left(
    registry: zerog.JobRegistry, change: dict[str, Any], message: str
) -> None:
    store = MemoryDatastore()
    job = Declared(store, PlainQueue(), path="x")
    job.save()
    broken = {**(store.read(job.key()) or {}), **change}
    store.set(job.key(), broken)
    with pytest.raises(CorruptDocument) as caught:
        registry.get_job(job.uuid, store, PlainQueue())
    assert message in str(caught.value)
    assert job.uuid in str(caught.value)
    assert store.read(job.key()) == broken


@pytest.mark.parametrize("name", ["path", "status", "epoch", "jobType", "priority", "attempts", "queueName"])
def test_a_truncated_document_is_named_and_left(registry: zerog.JobRegistry, name: str) -> None:
    store = MemoryDatastore()
    job = Declared(store, PlainQueue(), path="x")
    job.save()
    document = store.read(job.key()) or {}
    del document[name]
    store.set(job.key(), document)
    with pytest.raises((CorruptDocument, UnknownJobType), match=name if name != "jobType" else "None"):
        registry.get_job(job.uuid, store, PlainQueue())


def test_a_field_of_the_user_s_own_that_crashes_is_a_corrupt_document() -> None:
    class Odd(fields.Field[Any]):
        def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
            return value

        def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
            raise KeyError(value)

    class Uses(zerog.BaseJob):
        JOB_TYPE = "uses"

        class State(Schema):
            odd = Odd()

        def run(self) -> None: ...

    app = zerog.App("memory://")
    app.register(Uses)
    job = app.submit("uses")
    document = app.datastore.read(job.key())
    app.datastore.set(job.key(), {**document, "odd": 1})
    with pytest.raises(CorruptDocument, match="odd=1"):
        app.get_job(job.uuid)
    assert zerog.Worker(app).run(burst=True).ran == 0


def test_subclasses_and_submodules_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somejobs"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "more.py").write_text(
        textwrap.dedent("""
            import zerog
            class Base(zerog.BaseJob): pass
            class Found(Base):
                JOB_TYPE = "found"
                def run(self): return 200
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    modules = zerog.import_submodules("somejobs")
    assert sorted(modules) == ["somejobs.deep", "somejobs.deep.more"]
    found = [cls for cls in zerog.find_subclasses(zerog.BaseJob) if cls.__module__ == "somejobs.deep.more"]
    assert [cls.__name__ for cls in found] == ["Base", "Found"]
    for name in [name for name in sys.modules if name.startswith("somejobs")]:
        del sys.modules[name]
