"""Schema versions: documents of older code are migrated, those of newer code are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.exceptions import CorruptDocument, InvalidJobClass, SchemaTooNew
from zerog.jobs.migrations import parse_version
from zerog.records.fields import FORMAT
from zerog.records.operations import Set


class First(zerog.BaseJob):
    JOB_TYPE = "grown"

    class Params(Schema):
        name = fields.String(required=True)
        old = fields.Integer(load_default=1)

    def run(self) -> int:
        return 200


class Third(zerog.BaseJob):
    JOB_TYPE = "grown"
    SCHEMA_VERSION = "3.0"

    class Params(Schema):
        fullName = fields.String(required=True)
        count = fields.Integer(load_default=0)

    fullName: str
    count: int

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def rename(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "fullName": document["name"].title()}

    @zerog.migration("2.0", "3.0")
    def drop(document: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        del document["name"], document["old"]
        document["count"] = 5
        return document

    def run(self) -> int:
        self.record_event(f"{self.fullName} {self.count}")
        return 200


@pytest.fixture(params=["memory", "sqlite"])
def apps(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """An app of old code and one of new code over the same documents."""
    old = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    old.register(First)
    new = zerog.App(datastore=old.datastore, queue=old.queue)
    new.register(Third)
    yield old, new
    new.close()
    old.close()


@pytest.mark.parametrize("wrong", ["1.10", "1.", "one", "1e3", "", None, True, float("nan"), float("inf"), 10**400])
def test_a_version_that_does_not_survive_a_float_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJobClass, match="schema version"):
        parse_version(wrong)
    with pytest.raises(InvalidJobClass, match="schema version"):
        zerog.JobRegistry().add_classes([type("Bad", (First,), {"SCHEMA_VERSION": wrong})])


@pytest.mark.parametrize(("version", "number"), [("1.0", 1.0), ("2", 2.0), (3, 3.0), (1.5, 1.5), ("1.1", 1.1)])
def test_a_version_is_text_or_number(version: Any, number: float) -> None:
    assert parse_version(version) == number


def test_reading_lifts_in_memory_and_the_next_write_stores_the_lifted_form(apps: Any) -> None:
    old, new = apps
    uuid = old.submit("grown", {"name": "ada lovelace"}).uuid
    before = old.datastore.read(f"zerog_job_{uuid}")
    job = new.get_job(uuid)
    assert (job.fullName, job.count, job.schemaVersion) == ("Ada Lovelace", 5, 3.0)
    assert old.datastore.read(f"zerog_job_{uuid}") == before
    job.record_event("write")
    stored = old.datastore.read(f"zerog_job_{uuid}")
    assert stored["schemaVersion"] == 3.0
    assert (stored["fullName"], stored["count"]) == ("Ada Lovelace", 5)
    assert "name" not in stored
    assert "old" not in stored


def test_a_lifted_job_may_be_reloaded_saved_and_changed(apps: Any) -> None:
    old, new = apps
    uuid = old.submit("grown", {"name": "ada"}).uuid
    job = new.get_job(uuid)
    job.update_attrs(count=8, flush=False)
    job.reload()
    assert job.count == 8, "what waits is newer than what the lifting gives"
    job.save()
    stored = old.datastore.read(f"zerog_job_{uuid}")
    assert (stored["count"], stored["schemaVersion"]) == (8, 3.0)
    assert "old" not in stored
    assert "old" not in job.dump()
    other = new.get_job(uuid)
    other.record_event("x")
    assert old.datastore.read(f"zerog_job_{uuid}") == {
        **stored,
        **{name: old.datastore.read(f"zerog_job_{uuid}")[name] for name in ("events", "updatedAt")},
    }


def test_a_waiting_document_is_lifted_run_and_settled_by_newer_code(apps: Any) -> None:
    old, new = apps
    uuid = old.submit("grown", {"name": "ada"}).uuid
    zerog.Worker(new).run(burst=True)
    stored = old.datastore.read(f"zerog_job_{uuid}")
    assert (stored["status"], stored["schemaVersion"], stored["events"][0]["msg"]) == ("succeeded", 3.0, "Ada 5")


def test_a_document_of_newer_code_is_put_back_untouched_and_uncounted(apps: Any) -> None:
    old, new = apps
    uuid = new.submit("grown", {"fullName": "Ada"}).uuid
    before = old.datastore.read_with_cas(f"zerog_job_{uuid}")
    stats = zerog.Worker(old).run(burst=True)
    assert stats.ran == 0
    assert old.datastore.read_with_cas(f"zerog_job_{uuid}") == before
    assert "schemaVersion 3.0; this code knows up to 1.0" in old.engine.skipped[uuid]
    with pytest.raises(SchemaTooNew):
        old.get_job(uuid)
    assert old.progress(uuid)["status"] == "queued"
    assert zerog.Worker(new).run(burst=True).ran == 1


def test_a_newer_layout_of_the_engine_s_fields_is_left_alone(apps: Any) -> None:
    old, _ = apps
    job = old.submit("grown", {"name": "ada"})
    old.datastore.mutate(job.key(), [Set("format", FORMAT + 1)])
    before = old.datastore.read_with_cas(job.key())
    assert zerog.Worker(old).run(burst=True).ran == 0
    assert old.datastore.read_with_cas(job.key()) == before
    with pytest.raises(SchemaTooNew, match="format"):
        old.get_job(job.uuid)


def test_a_gap_or_a_fork_in_the_chain_is_refused_at_registration() -> None:
    def step(document: dict[str, Any]) -> dict[str, Any]:
        return document

    def grown(*steps: Any, version: str = "3.0") -> None:
        named = {f"step{number}": made for number, made in enumerate(steps)}
        zerog.JobRegistry().add_classes([type("Grown", (First,), {"SCHEMA_VERSION": version, **named})])

    up = zerog.migration
    with pytest.raises(InvalidJobClass, match=r"leads to 2\.0, from which there is no migration"):
        grown(up("1.0", "2.0")(step))
    with pytest.raises(InvalidJobClass, match=r"leads to 4\.0"):
        grown(up("1.0", "3.0")(step), up("3.0", "4.0")(step))
    with pytest.raises(InvalidJobClass, match=r"two migrations from 1\.0"):
        grown(up("1.0", "2.0")(step), up("1.0", "3.0")(step), up("2.0", "3.0")(step))
    with pytest.raises(InvalidJobClass, match="leads backwards"):
        up("2.0", "1.0")
    grown(up("1.0", "2.0")(step), up("2.0", "3.0")(step))


def crash(document: dict[str, Any]) -> Any:
    raise KeyError("missing")


def leave(document: dict[str, Any]) -> Any:
    raise SystemExit(1)


def forget(document: dict[str, Any]) -> Any:
    return None


def forge(document: dict[str, Any]) -> Any:
    return {**document, "status": "succeeded"}


def forge_inside(document: dict[str, Any]) -> Any:
    document["queueKwargs"]["ttr"] = 1
    return document


def unstorable(document: dict[str, Any]) -> Any:
    return {**document, "share": float("nan")}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (crash, "KeyError: 'missing'"),
        (leave, "SystemExit: 1"),
        (forget, "it returned NoneType"),
        (forge, "it changed status"),
        (forge_inside, "it changed queueKwargs"),
        (unstorable, "share is nan"),
    ],
)
def test_a_migration_that_fails_leaves_the_document_as_it_is(apps: Any, function: Any, message: str) -> None:
    old, _ = apps
    uuid = old.submit("grown", {"name": "ada"}).uuid
    before = old.datastore.read_with_cas(f"zerog_job_{uuid}")
    broken = zerog.App(datastore=old.datastore, queue=old.queue)
    broken.register(type("Broken", (First,), {"SCHEMA_VERSION": "2.0", "m": zerog.migration("1.0", "2.0")(function)}))
    with pytest.raises(CorruptDocument) as caught:
        broken.get_job(uuid)
    assert message in str(caught.value)
    assert uuid in str(caught.value)
    assert zerog.Worker(broken).run(burst=True).ran == 0
    assert old.datastore.read_with_cas(f"zerog_job_{uuid}") == before
    assert zerog.Worker(old).run(burst=True).ran == 0, "it was put back for later"
    broken.close()


def test_a_version_without_a_way_from_the_document_s_is_named(apps: Any) -> None:
    old, _ = apps
    uuid = old.submit("grown", {"name": "ada"}).uuid
    jumped = zerog.App(datastore=old.datastore, queue=old.queue)
    jumped.register(type("Jumped", (First,), {"SCHEMA_VERSION": "2.0"}))
    with pytest.raises(CorruptDocument, match=r"schemaVersion 1\.0, from where no migration leads to 2\.0"):
        jumped.get_job(uuid)
