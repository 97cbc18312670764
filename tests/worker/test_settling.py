"""The fate of settlements that can't be stored: no other job waits for them, and none is held for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running, short_lease
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import RunGuard
from zerog.exceptions import DatastoreUnavailable
from zerog.records.operations import Set


class Held(zerog.BaseJob):
    """Runs until it is let go, having written some events."""

    JOB_TYPE = "held"
    began, go = threading.Event(), threading.Event()

    def run(self) -> int:
        for number in range(3):
            self.record_event(f"event {number}")
        Held.began.set()
        assert Held.go.wait(60)
        return 200


class Other(zerog.BaseJob):
    JOB_TYPE = "other"

    def run(self) -> int:
        return 200


@pytest.fixture(params=["memory://", "sqlite:///{}/jobs.db"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(request.param.format(tmp_path))
    made.register(Held, Other)
    Held.began.clear()
    Held.go.clear()
    yield made
    made.close()


def key_of(job: Any) -> str:
    return f"zerog_job_{job.uuid}"


def others_run(app: zerog.App) -> None:
    """Jobs that are submitted now are run by the worker whose settlement of another one fails."""
    uuids = app.submit_many("other", [{}] * 5)
    until(lambda: {app.progress(uuid)["status"] for uuid in uuids} == {"succeeded"})


def test_a_document_that_was_set_back_holds_up_no_worker_and_runs_again(app: zerog.App) -> None:
    """A restored copy knows fewer writes of the run than the run has made: its end is no part of that copy."""
    with Running(app, lease=short_lease()):
        job = app.submit("held")
        assert Held.began.wait(20)
        copy = app.datastore.read(key_of(job)) or {}
        app.datastore.set(key_of(job), {**copy, "events": copy["events"][:1], "seq": 1})
        Held.go.set()
        others_run(app)
        ended = app.wait(job.uuid, 30)
    assert (ended.status, ended.lost, ended.attempts) == ("succeeded", 0, 1)


@pytest.mark.parametrize("damage", [{"errors": 7}, {"events": "none"}, {"warnings": {"a": 1}}])
def test_a_damaged_history_holds_up_no_worker(app: zerog.App, damage: dict[str, Any]) -> None:
    """The end of the run is stored all the same, as far as the document takes it."""
    with Running(app, lease=5):
        job = app.submit("held")
        assert Held.began.wait(20)
        app.datastore.mutate(key_of(job), [Set(field, value) for field, value in damage.items()])
        Held.go.set()
        others_run(app)
        until(lambda: app.progress(job.uuid)["status"] in ("succeeded", "failed"))


@pytest.fixture
def memory() -> Iterator[zerog.App]:
    made = zerog.App(datastore=MemoryDatastore(), queue=MemoryQueue())
    made.register(Held, Other)
    Held.began.clear()
    Held.go.clear()
    yield made
    made.close()


def ended_in_an_outage(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, threading.Event]:
    """A job whose run has ended, which the worker can't store while the returned event is set."""
    job = app.submit("held")
    assert Held.began.wait(20)
    mutate, away, refused = app.datastore.mutate, threading.Event(), threading.Event()

    def failing(key: str, *args: Any, **kwargs: Any) -> Any:
        if key == key_of(job) and away.is_set() and threading.current_thread() is not threading.main_thread():
            refused.set()
            raise DatastoreUnavailable("made up: out of reach for the worker")
        return mutate(key, *args, **kwargs)

    monkeypatch.setattr(app.datastore, "mutate", failing)
    away.set()
    Held.go.set()
    assert refused.wait(20)
    return job, away


def test_ends_that_are_not_stored_in_an_outage_are_stored_later(
    memory: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key can't be written for a while: other jobs end and begin meanwhile, and that one ends as it had."""
    with Running(memory):
        job, away = ended_in_an_outage(memory, monkeypatch)
        others_run(memory)
        assert memory.progress(job.uuid)["status"] == "running"
        away.clear()
        assert memory.wait(job.uuid, 30).status == "succeeded"


def test_a_run_that_ended_in_an_outage_is_not_lost(memory: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job was rescued before its end could be stored: it runs again, and that costs it nothing."""
    with Running(memory):
        job, away = ended_in_an_outage(memory, monkeypatch)
        Held.go.clear()
        run = RunGuard.of(memory.engine.read(job.uuid)[0])
        assert memory.engine.rescue(job.uuid, run, "lost", "its worker was silent")
        away.clear()
        until(lambda: memory.get_job(job.uuid).lost == 0)
        Held.go.set()
        ended = memory.wait(job.uuid, 30)
    assert (ended.status, ended.attempts) == ("succeeded", 2)
