"""Two classes of one type, for versions of their own: each document has its class, in every way a job is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.exceptions import ConfigurationError, CorruptDocument, DuplicateJobType
from zerog.records.job import make_key
from zerog.records.operations import Set

SEEN: list[str] = []


class Paper(zerog.BaseJob):
    """Orders on paper, whose scan no migration can make."""

    JOB_TYPE = "order"
    SCHEMA_VERSION = "1.1"

    class Params(Schema):
        scan = fields.String(required=True)
        pin = fields.String(load_default=None, metadata={"secret": True})

    @zerog.migration("1.0", "1.1")
    @staticmethod
    def same(document: dict[str, Any]) -> dict[str, Any]:
        return document

    def run(self) -> Any:
        return {"by": "paper", "scan": self.scan}  # type: ignore[attr-defined]

    def on_end(self, status: str) -> Any:
        SEEN.append(f"paper {status}")

    def on_discard(self) -> None:
        SEEN.append("paper gone")


class Online(zerog.BaseJob):
    JOB_TYPE = "order"
    SCHEMA_VERSION = "2.0"

    class Params(Schema):
        items = fields.List(fields.String(), required=True)

    def run(self) -> Any:
        return {"by": "online", "items": self.items}  # type: ignore[attr-defined]


def before(url: str = "memory://") -> zerog.App:
    app = zerog.App(url)
    app.register(Paper)
    return app


def deployed(app: zerog.App) -> zerog.App:
    app.unregister("order")
    app.register(Paper, Online)
    return app


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_each_document_runs_in_its_class(executor: str, tmp_path: Path) -> None:
    app = before(f"sqlite:///{tmp_path}/jobs.db")
    old, oldest = (app.submit("order", {"scan": "a.png"}).uuid for _ in range(2))
    app.datastore.mutate(make_key(oldest), [Set("schemaVersion", 1.0)])
    new = deployed(app).submit("order", {"items": ["tea"]}).uuid
    zerog.Worker(app, executor=executor).run(burst=True)
    assert [app.get_job(uuid).output["by"] for uuid in (old, oldest, new)] == ["paper", "paper", "online"]
    assert [type(app.get_job(uuid)) for uuid in (old, oldest, new)] == [Paper, Paper, Online]
    assert app.datastore.read(make_key(old))["schemaVersion"] == 1.1
    app.close()


def test_new_jobs_are_of_the_latest_and_an_earlier_class_can_be_named() -> None:
    app = deployed(before())
    assert type(app.submit("order", {"items": []})) is Online
    assert type(app.submit(Paper, {"scan": "a.png"})) is Paper
    assert type(app.get_job(app.submit(Paper, {"scan": "a"}).uuid, Paper)) is Paper
    assert app.registry.versions() == (("order", 2.0), ("order.on_end", 1.0))
    assert len(app.types()) == 1


def test_everything_around_a_job_uses_its_class() -> None:
    """The end, an edit, secrets, the removal."""
    SEEN.clear()
    app = before()
    uuid = app.submit("order", {"scan": "a.png", "pin": "1234"}).uuid
    deployed(app)
    assert app.edit(uuid, {"scan": "b.png"}, who="me", reason="better") == {"scan": {"old": "a.png", "new": "b.png"}}
    assert app.registry.shown(app.datastore.read(make_key(uuid)))["pin"] == "[secret]"
    zerog.Worker(app).run(burst=True)
    app.reconcile()
    zerog.Worker(app).run(burst=True)
    app.discard(uuid)
    assert SEEN == ["paper succeeded", "paper gone"]


def test_a_version_between_them_is_left_alone() -> None:
    app = deployed(before())
    uuid = app.submit("order", {"items": []}).uuid
    app.datastore.mutate(make_key(uuid), [Set("schemaVersion", 1.5)])
    with pytest.raises(CorruptDocument, match=r"from where no migration leads to 2\.0"):
        app.get_job(uuid)


def test_versions_that_overlap_are_refused_naming_both() -> None:
    class Overlapping(Online):
        SCHEMA_VERSION = "3.0"

        @zerog.migration("1.1", "3.0")
        @staticmethod
        def up(document: dict[str, Any]) -> dict[str, Any]:
            return document

    app = zerog.App("memory://")
    with pytest.raises(DuplicateJobType, match=r"1\.0 to 1\.1 of Paper and 1\.1 to 3\.0 of .*Overlapping overlap"):
        app.register(Paper, Overlapping)
    assert app.registry.get_registered_classes() == {}


def test_a_class_without_a_version_of_its_own_is_refused() -> None:
    class Copied(zerog.BaseJob):
        JOB_TYPE = "order"

        def run(self) -> Any: ...

    with pytest.raises(DuplicateJobType, match=r"states its SCHEMA_VERSION, and .*Copied doesn't"):
        zerog.App("memory://").register(Online, Copied)


def test_they_are_registered_together_or_not_at_all() -> None:
    """A second class that comes later is a mistake more often than a plan."""
    app = before()
    with pytest.raises(DuplicateJobType, match="needs a distinct one"):
        app.register(Online)
    app.unregister("order")
    app.register(Online, Paper)
    app.register(Paper)  # the same again is no error
    app.register(Online, Paper)
    assert app.registry.classes_of("order") == [Online, Paper]
    assert app.unregister("order") is Online
    assert app.registry.classes_of("order") == []
    with pytest.raises(zerog.UnknownJobType):
        app.submit(Paper, {"scan": "a"})


def test_a_class_that_isnt_registered_is_refused() -> None:
    class Other(Online):
        SCHEMA_VERSION = "5.0"

    with pytest.raises(ConfigurationError, match="isn't registered here"):
        deployed(before()).submit(Other, {"items": []})
