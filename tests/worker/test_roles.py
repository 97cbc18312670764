"""Workers that were started with a role serve its queues, and follow a change without a restart."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running
from zerog.exceptions import ConfigurationError
from zerog.records.keys import SETTINGS

began, go = threading.Event(), threading.Event()


class Quick(zerog.BaseJob):
    JOB_TYPE = "quick"

    def run(self) -> Any:
        return 200


class Slow(zerog.BaseJob):
    JOB_TYPE = "slow"

    def run(self) -> Any:
        began.set()
        assert go.wait(30)
        return 200


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")
    made.register(Quick, Slow)
    began.clear()
    go.clear()
    return made


def queues_of(app: zerog.App) -> list[str]:
    [worker] = app.workers()
    found: list[str] = worker["queues"]
    return found


def test_a_worker_follows_its_role_and_ends_what_it_runs(app: zerog.App) -> None:
    """At its start and while it runs; what waits on a queue that it has left is left for others."""
    app.fleet.settings.set_role("heavy", ["reports"])
    running = app.submit(Slow, queue="reports").uuid
    with Running(app, role="heavy", concurrency=2):
        assert began.wait(20)
        app.fleet.settings.set_role("heavy", ["exports", "default"])
        until(lambda: queues_of(app) == ["exports", "default"])
        left = app.submit(Quick, queue="reports").uuid
        app.wait(app.submit(Quick, queue="exports").uuid, 20)
        go.set()
        assert app.wait(running, 20).status == "succeeded"
        assert app.progress(left)["status"] == "queued"
        app.fleet.settings.set_role("heavy", ["reports"])
        app.wait(left, 20)


def test_a_worker_of_an_unknown_role_serves_nothing_until_it_is_set(app: zerog.App) -> None:
    uuid = app.submit(Quick).uuid
    with Running(app, role="heavy"):
        until(lambda: len(app.workers()) == 1)
        assert (queues_of(app), app.progress(uuid)["status"]) == ([], "queued")
        app.fleet.settings.set_role("heavy", ["default"])
        app.wait(uuid, 20)


@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_worker_keeps_its_queues_when_nothing_is_set_any_more(app: zerog.App, how: str) -> None:
    app.fleet.settings.set_role("heavy", ["reports"])
    with Running(app, role="heavy") as running:
        app.wait(app.submit(Quick, queue="reports").uuid, 20)
        if how == "removed":
            app.fleet.settings.remove_role("heavy")
        else:
            app.datastore.set(SETTINGS, {"documentType": SETTINGS, "roles": 7})
        assert running.worker._session is not None
        running.worker._session._control.turn()
        app.wait(app.submit(Quick, queue="reports").uuid, 20)


def test_pauses_hold_for_the_queues_of_a_role(app: zerog.App) -> None:
    app.fleet.settings.set_role("heavy", ["reports", "exports"])
    app.fleet.pause("reports")
    paused = app.submit(Quick, queue="reports").uuid
    with Running(app, role="heavy"):
        app.wait(app.submit(Quick, queue="exports").uuid, 20)
        assert app.progress(paused)["status"] == "queued"
        app.fleet.resume("reports")
        app.wait(paused, 20)


def test_the_role_is_that_of_the_environment_unless_queues_are_given(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROG_ROLE", "heavy")
    assert (zerog.Worker(app).settings.role, zerog.Worker(app, queues=["a"]).settings.role) == ("heavy", None)
    assert zerog.Worker(app, role="light").settings.role == "light"
    with pytest.raises(ConfigurationError, match="expected one of both"):
        zerog.Worker(app, role="heavy", queues=["a"])
    with pytest.raises(ConfigurationError, match="role="):
        zerog.Worker(app, role="two words")


def test_who_has_no_role_reads_no_settings(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_datastore: Any) -> Any:
        raise AssertionError("read")

    monkeypatch.setattr("zerog.worker.control.read_settings", refuse)
    uuid = app.submit(Quick).uuid
    zerog.Worker(app).run(burst=True)
    assert app.progress(uuid)["status"] == "succeeded"
