"""The app: submit, look up, wait, cancel, retry; and every mistake of a caller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from marshmallow import ValidationError

import zerog
from tests.jobs.builders import Declared, Documented
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import (
    CasMismatch,
    ConfigurationError,
    CorruptDocument,
    DatastoreUnavailable,
    InvalidUuid,
    InvalidValue,
    JobNotFound,
    JobStateError,
    UnknownJobType,
)
from zerog.jobs.submit import BATCH
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock

UNKNOWN = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Declared, Documented)
    yield made
    made.close()


def everything(app: Any) -> list[dict[str, Any]]:
    return list(app.jobs())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "App needs a URL"),
        ({"url": "nosuch://x"}, "nosuch://x names no datastore"),
        ({"url": "jobs.db"}, "'jobs.db' names no datastore"),
        ({"url": "sqlite://jobs.db"}, "names no file"),
        ({"url": "sqlite:///x.db?journal=off"}, "option 'journal'"),
        ({"url": "memory://?a=1"}, "option 'a'"),
        ({"url": "memory://", "queue": "memory://"}, "either one URL or"),
        ({"queue": "memory://"}, "also needs datastore"),
        ({"datastore": MemoryDatastore()}, "also needs queue"),
        ({"datastore": "memory://", "queue": "nosuch://"}, "names no queue"),
    ],
)
def test_a_wrong_configuration_fails_at_start(
    arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_URL", raising=False)
    with pytest.raises(ConfigurationError, match=message.replace("?", r"\?")):
        zerog.App(**arguments)


def test_no_password_gets_into_an_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        zerog.App("nosuch://user:hunter2@host/db?key=hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_url_may_come_from_the_environment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROG_URL", f"sqlite:///{tmp_path}/jobs.db")
    app = zerog.App()
    assert everything(app) == []
    app.close()


def test_both_urls_may_come_from_the_environment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together or not at all, and not beside one for both."""
    monkeypatch.delenv("ZEROG_URL", raising=False)
    monkeypatch.setenv("ZEROG_DATASTORE", f"sqlite:///{tmp_path}/documents.db")
    with pytest.raises(ConfigurationError, match="no ZEROG_QUEUE"):
        zerog.App()
    monkeypatch.setenv("ZEROG_QUEUE", f"sqlite:///{tmp_path}/queue.db")
    app = zerog.App()
    app.register(Declared)
    app.submit(Declared, {"path": "x"})
    assert app.queue.size() == len(everything(app)) == 1
    app.close()
    assert {"documents.db", "queue.db"} <= {file.name for file in tmp_path.iterdir()}
    monkeypatch.setenv("ZEROG_URL", "memory://")
    with pytest.raises(ConfigurationError, match="ZEROG_URL beside"):
        zerog.App()


def test_submit_by_class_or_name(app: Any) -> None:
    for job_type in (Declared, "declared"):
        job = app.submit(job_type, {"path": "x"}, priority=2, headers={"trace": "1"}, queue="slow")
        assert (job.path, job.status, job.priority, job.queueName) == ("x", "queued", 2, "slow")
        assert app.get_job(job.uuid).headers == {"trace": "1"}
    assert app.engine.queue_named("slow").size() == 2


def test_submit_takes_a_uuid_once(app: Any) -> None:
    assert app.submit("declared", {"path": "x"}, uuid=UNKNOWN).uuid == UNKNOWN
    with pytest.raises(CasMismatch):
        app.submit("declared", {"path": "other"}, uuid=UNKNOWN)
    assert app.get_job(UNKNOWN).path == "x"
    assert app.queue.size() == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"params": {}}, ValidationError, "path"),
        ({"params": []}, ValidationError, "expected an object"),
        ({"params": {"path": 5}}, ValidationError, "path"),
        ({"params": {"path": "x", "resultCode": 200}}, ValidationError, "resultCode"),
        ({"params": {"path": "\ud800"}}, InvalidValue, "path"),
        ({"delay": -1}, InvalidValue, "delay=-1"),
        ({"delay": "soon"}, InvalidValue, "delay='soon'"),
        ({"delay": True}, InvalidValue, "delay=True"),
        ({"delay": float("nan")}, InvalidValue, "delay=nan"),
        ({"delay": 1, "at": datetime.now(UTC)}, InvalidValue, "either delay= or at="),
        ({"at": "tomorrow"}, InvalidValue, "at='tomorrow'"),
        ({"priority": "high"}, InvalidValue, "priority='high'"),
        ({"priority": 1.5}, InvalidValue, "priority=1.5"),
        ({"queue": ""}, InvalidValue, "queue=''"),
        ({"queue": 5}, InvalidValue, "queue=5"),
        ({"headers": {"a": 1}}, InvalidValue, "headers="),
        ({"headers": "a"}, InvalidValue, "headers="),
        ({"uuid": "mine"}, InvalidUuid, "'mine'"),
        ({"job_type": "nosuch"}, UnknownJobType, "Known: declared, documented"),
        ({"job_type": None}, UnknownJobType, "None"),
    ],
)
def test_a_wrong_submit_is_named_and_stores_nothing(
    app: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"job_type": "declared", "params": {"path": "x"}, **arguments}
    with pytest.raises(error) as caught:
        app.submit(given.pop("job_type"), given.pop("params"), **given)
    assert message in str(caught.value)
    assert everything(app) == []
    assert app.queue.size() == 0


def test_a_class_that_was_not_registered_here_is_refused(app: Any) -> None:
    class Declared2(Declared):
        pass

    with pytest.raises(ConfigurationError, match="isn't registered here"):
        app.submit(Declared2, {"path": "x"})


def test_delay_and_at_schedule() -> None:
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)
    app.register(Declared)
    moment = clock.now() + timedelta(hours=1)
    for options in ({"delay": 3600}, {"at": moment}, {"at": moment.astimezone(None)}):
        job = app.submit("declared", {"path": "x"}, **options)
        assert (job.status, job.notBefore, job.createdAt) == ("scheduled", moment, clock.now())
    assert app.submit("declared", {"path": "x"}, at=clock.now() - timedelta(days=1)).status == "queued"


def test_submit_many(app: Any) -> None:
    uuids = app.submit_many("declared", ({"path": str(n)} for n in range(20)), priority=1)
    assert [app.get_job(uuid).path for uuid in uuids] == [str(n) for n in range(20)]
    assert app.submit_many("declared", []) == []


def test_submit_many_stores_nothing_if_one_is_wrong(app: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        app.submit_many("declared", [{"path": "x"}, {}, {"path": "y"}, {"path": 1}])
    assert {number: [*fields] for number, fields in caught.value.normalized_messages().items()} == {
        1: ["path"],
        3: ["path"],
    }
    assert everything(app) == []


def test_submit_many_reports_how_many_are_stored_when_the_datastore_fails() -> None:
    class Filling(MemoryDatastore):
        left = BATCH + 3

        def set_with_cas(self, key: str, value: Any, cas: int) -> Any:
            if not self.left:
                raise DatastoreUnavailable("disk full")
            self.left -= 1
            return super().set_with_cas(key, value, cas)

        def create(self, key: str, value: Any) -> int:
            return int(self.set_with_cas(key, value, 0)[1])

    app = zerog.App(datastore=Filling(), queue=MemoryQueue())
    app.register(Declared)
    with pytest.raises(DatastoreUnavailable) as caught:
        app.submit_many("declared", [{"path": "x"}] * (BATCH + 10))
    assert caught.value.__notes__ == [f"{BATCH + 3} of {BATCH + 10} jobs are stored and will run"]
    assert len(everything(app)) == BATCH + 3


@pytest.mark.parametrize("call", ["get_job", "progress", "info", "wait", "cancel", "retry"])
def test_each_call_names_a_uuid_that_is_malformed_or_of_no_job(app: Any, call: str) -> None:
    with pytest.raises(JobNotFound, match=UNKNOWN):
        getattr(app, call)(UNKNOWN)
    for wrong in ("", "x", None, 5, UNKNOWN.replace("-", ""), f"{{{UNKNOWN}}}", "a/../b"):
        with pytest.raises(InvalidUuid):
            getattr(app, call)(wrong)


def test_progress_and_info_need_no_class(app: Any) -> None:
    uuid = app.submit("declared", {"path": "x"}).uuid
    poller = zerog.App(datastore=app.datastore, queue=app.queue)
    assert poller.progress(uuid)["result"] == -1
    assert poller.info(uuid)["events"] == []


def test_a_corrupt_document_is_named_and_the_worker_continues(app: Any) -> None:
    bad, truncated, foreign, good = (app.submit("declared", {"path": "x"}) for _ in range(4))
    document = app.datastore.read(bad.key())
    broken = {
        bad.key(): {**document, "epoch": "one"},
        truncated.key(): {"documentType": "zerog_job", "uuid": truncated.uuid, "status": "queued"},
        foreign.key(): {"name": "another program's"},
    }
    for key, value in broken.items():
        app.datastore.set(key, value)
    app.queue.put(UNKNOWN)
    stats = zerog.Worker(app).run(burst=True)
    assert (stats.ran, stats.succeeded) == (1, 1)
    assert app.get_job(good.uuid).status == "succeeded"
    assert app.progress(bad.uuid)["status"] == app.info(bad.uuid)["status"] == "queued"
    for job in (bad, truncated, foreign):
        for call in (app.get_job, *((app.progress, app.info) if job is not bad else ())):
            with pytest.raises((CorruptDocument, UnknownJobType)):
                call(job.uuid)
        assert app.datastore.read(job.key()) == broken[job.key()]
        assert job.uuid in app.engine.skipped
    assert len(everything(app)) == 2, "those with a status and a time are listed, whatever else they lack"


def test_jobs_filters_and_pages(app: Any) -> None:
    uuids = app.submit_many("declared", [{"path": str(n)} for n in range(BATCH + 7)])
    other = app.submit("documented", {"path": "x"}, queue="slow", delay=60)
    assert [job["uuid"] for job in app.jobs(job_type="declared")] == sorted(uuids)
    assert len(list(app.jobs(limit=BATCH + 1))) == BATCH + 1
    assert list(app.jobs(limit=0)) == []
    for query in ({"job_type": Documented}, {"queue": "slow"}, {"status": "scheduled"}):
        assert [job["uuid"] for job in app.jobs(**query)] == [other.uuid]
    assert list(app.jobs(status="failed")) == []


def test_jobs_come_by_their_creation_whatever_their_uuids(app: Any) -> None:
    """A client may choose uuids that don't sort by time; from either end, and between two times."""
    chosen = ["f0000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000"]
    uuids = [app.submit(Declared, {"path": "a"}, uuid=uuid).uuid for uuid in (*chosen, None, None)]
    times = [datetime.fromisoformat(app.progress(uuid)["createdAt"]) for uuid in uuids]

    def listed(**query: Any) -> list[str]:
        return [job["uuid"] for job in app.jobs(**query)]

    assert listed() == uuids
    assert listed(order="newest", limit=2) == uuids[:1:-1]
    assert listed(since=times[1], until=times[2]) == uuids[1:3]
    assert listed(since=times[2].replace(tzinfo=None), order="newest") == uuids[:1:-1]
    app.datastore.mutate(f"zerog_job_{uuids[3]}", [Set("createdAt", "no time")])
    assert listed(since=times[2]) == uuids[2:3]
    for wrong in ({"order": "random"}, {"since": "2026-01-01"}, {"until": 5}):
        with pytest.raises(InvalidValue, match=f"{next(iter(wrong))}="):
            app.jobs(**wrong)


def test_jobs_refuses_at_the_call_what_no_job_can_have(app: Any) -> None:
    with pytest.raises(InvalidValue, match=r"'done'; expected one of new, queued"):
        app.jobs(status="done")
    for wrong in (-1, "all", 1.5, True):
        with pytest.raises(InvalidValue, match="limit="):
            app.jobs(limit=wrong)


def test_wait_returns_the_finished_job_or_raises_with_its_state(app: Any) -> None:
    uuid = app.submit("declared", {"path": "x"}).uuid
    with pytest.raises(TimeoutError, match=r"still queued after 0\.05 s"):
        app.wait(uuid, timeout=0.05)
    for wrong in (-1, "long", float("nan")):
        with pytest.raises(InvalidValue, match="timeout="):
            app.wait(uuid, timeout=wrong)
    zerog.Worker(app).run(burst=True)
    assert app.wait(uuid, timeout=0).status == "succeeded"


def bring_to(app: Any, status: str) -> str:
    """The uuid of a job in this status."""
    if status == "new":
        job = Declared(app.datastore, app.queue, path="x")
        job.save()
        return job.uuid
    uuid: str = app.submit("declared", {"path": "x"}, delay=60 if status == "scheduled" else 0).uuid
    if status == "running":
        assert app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    elif status == "succeeded":
        zerog.Worker(app).run(burst=True)
    elif status == "failed":
        ended = zerog.engine.transitions.finished({}, 500, "2026-01-01T00:00:00+00:00")
        app.datastore.mutate(f"zerog_job_{uuid}", ended)
    elif status == "cancelled":
        app.cancel(uuid)
    assert app.progress(uuid)["status"] == status
    return uuid


@pytest.mark.parametrize("status", ["new", "queued", "scheduled", "running", "succeeded", "failed", "cancelled"])
def test_cancel_in_every_status(app: Any, status: str) -> None:
    uuid = bring_to(app, status)
    if status in ("succeeded", "failed", "cancelled"):
        with pytest.raises(JobStateError, match=f"is {status} already"):
            app.cancel(uuid)
    elif status == "running":
        assert app.cancel(uuid) == app.cancel(uuid) == "running"
        assert app.progress(uuid)["cancelRequested"] is not None
        assert app.progress(uuid)["status"] == "running"
    else:
        assert app.cancel(uuid) == "cancelled"
        assert zerog.Worker(app).run(burst=True).ran == 0
        assert (app.progress(uuid)["status"], app.progress(uuid)["result"]) == ("cancelled", 410)


@pytest.mark.parametrize("status", ["new", "queued", "scheduled", "running", "succeeded", "failed", "cancelled"])
def test_retry_in_every_status(app: Any, status: str) -> None:
    uuid = bring_to(app, status)
    if status not in ("succeeded", "failed", "cancelled"):
        with pytest.raises(JobStateError, match=f"is {status}; only a job that has ended"):
            app.retry(uuid)
        assert app.progress(uuid)["status"] == status
        return
    before = app.get_job(uuid).epoch
    app.retry(uuid, "disk was full")
    job = app.get_job(uuid)
    assert (job.status, job.resultCode, job.epoch, job.cancelRequested) == ("queued", -1, before + 1, None)
    assert f"retried after {status}" in job.events[-1]["msg"]
    assert job.events[-1]["msg"].endswith("disk was full")
    assert zerog.Worker(app).run(burst=True).succeeded == 1


def test_a_function_that_is_a_job_may_be_submitted_and_anything_else_is_named() -> None:
    made = zerog.App("memory://")

    @made.job
    def greet(job: zerog.BaseJob, name: str) -> None: ...

    @made.job
    def part(job: zerog.BaseJob) -> None: ...

    uuid = made.submit(greet, {"name": "you"}).uuid  # type: ignore[arg-type]
    for wrong in (None, 3, lambda job: None):
        with pytest.raises(UnknownJobType, match="is no job; expected a registered class"):
            made.submit(wrong)  # type: ignore[arg-type]
    assert made.get_job(uuid, job_type="greet").jobType == "greet"
    with pytest.raises(zerog.JobNotFound, match="not a 'part'"):
        made.get_job(uuid, job_type="part")
    with pytest.raises(zerog.UnknownJobType):
        made.get_job(uuid, job_type="absent")


def test_a_retry_without_a_reset_gives_one_more_try() -> None:
    """A job that had used up its errors ends with its next one; with a reset it has all of its tries again."""
    app = zerog.App("memory://")

    @app.job
    def fail(job: Any) -> None:
        raise ValueError

    uuid = app.submit(fail, max_errors=2).uuid
    fail.job.BACKOFF = lambda count, error: 0
    zerog.Worker(app).run(burst=True)
    app.retry(uuid, reset=False)
    zerog.Worker(app).run(burst=True)
    assert (app.progress(uuid)["errorCount"], app.progress(uuid)["attempts"]) == (3, 3)
    app.retry(uuid)
    zerog.Worker(app).run(burst=True)
    assert (app.progress(uuid)["errorCount"], app.progress(uuid)["attempts"]) == (2, 5)
