"""Bulk actions over REST: a job that does one thing to many, with its number first, its progress and its result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import zerog
from tests.web.builders import Count, client, ended, make_app, waiting
from zerog.records.job import make_key
from zerog.testing import ManualClock, run_inline
from zerog.web.bulk import Bulk, Bulks


@pytest.fixture
def app() -> Iterator[zerog.App]:
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def api(app: zerog.App) -> TestClient:
    return client(app)


def done(app: zerog.App, api: TestClient, body: dict[str, Any]) -> Any:
    """Request a bulk action, and return its job's result once it has ended."""
    answer = api.post("/jobs/bulk", json=body)
    assert answer.status_code == 202, answer.text
    app_of_servers = zerog.App(datastore=app.datastore, queue=app.queue)
    app_of_servers.register(Bulk)
    assert app_of_servers.wait(answer.json()["uuid"], timeout=60).status == "succeeded"
    return api.get(answer.json()["links"]["data"]).json()["data"]


def test_many_jobs_are_cancelled(app: zerog.App, api: TestClient) -> None:
    """Their number first; then all that match and haven't ended, and no others."""
    made = [waiting(app) for _ in range(3)]
    other = app.submit("idle").uuid
    body = {"verb": "cancel", "filters": {"type": "count"}}
    assert api.post("/jobs/bulk?dry_run=true", json=body).json() == {"number": 3}
    assert {app.progress(uuid)["status"] for uuid in made} == {"queued"}
    assert done(app, api, body) == {"became": {"cancelled": 3}, "undone": 0}
    assert {app.progress(uuid)["status"] for uuid in made} == {"cancelled"}
    assert app.progress(other)["status"] == "queued"


def test_many_jobs_are_retried_by_a_client(app: zerog.App, api: TestClient) -> None:
    """The oldest first up to the limit; their events name the client and the reason."""
    made = [ended(app, "bad") for _ in range(3)]
    body = {"verb": "retry", "filters": {"error": "ValueError"}, "limit": 2, "reason": "mended"}
    assert done(app, api, body) == {"became": {"queued": 2}, "undone": 0}
    assert [app.progress(uuid)["status"] for uuid in made] == ["queued", "queued", "failed"]
    assert app.info(made[0])["events"][-1]["msg"] == "retried by web after failed with 500: mended"


def test_many_jobs_are_moved_and_removed(app: zerog.App, api: TestClient) -> None:
    uuid = waiting(app)
    body = {"verb": "move", "filters": {"queue": "default"}, "queue": "slow", "priority": 2}
    assert done(app, api, body) == {"became": {"moved": 1}, "undone": 0}
    assert app.datastore.read(make_key(uuid))["queueName"] == "slow"
    gone = ended(app)
    assert done(app, api, {"verb": "discard", "filters": {"type": "count"}}) == {"became": {"removed": 1}, "undone": 0}
    assert app.datastore.read(make_key(gone)) is None


def test_jobs_that_find_their_queue_full_are_counted_and_named(app: zerog.App, api: TestClient) -> None:
    app.fleet.settings.set_queue("tight", max_waiting=1)
    made = [waiting(app) for _ in range(2)]
    body = {"verb": "move", "filters": {"queue": "default"}, "queue": "tight"}
    assert done(app, api, body) == {"became": {"moved": 1}, "undone": 1}
    assert [app.get_job(uuid).queueName for uuid in made] == ["tight", "default"]
    [bulk] = api.get("/jobs", params={"queue": "zerog.bulk"}).json()["jobs"]
    [warning] = api.get(f"/jobs/{bulk['uuid']}/info").json()["warnings"]
    assert f"Job {made[1]} stays on queue default" in warning["msg"]


def test_many_jobs_are_paused_and_go_on(app: zerog.App, api: TestClient) -> None:
    """By a client with a reason, which each job shows; a resume finds those that are paused."""
    made = [waiting(app) for _ in range(2)]
    body = {"verb": "pause", "filters": {"type": "count"}, "reason": "the disk is full"}
    assert done(app, api, body) == {"became": {"paused": 2}, "undone": 0}
    assert {app.progress(uuid)["status"] for uuid in made} == {"paused"}
    assert "the disk is full" in str(app.progress(made[0])["paused"])
    assert done(app, api, {"verb": "resume", "filters": {"type": "count"}}) == {"became": {"queued": 2}, "undone": 0}
    assert {app.progress(uuid)["status"] for uuid in made} == {"queued"}


def test_what_can_t_be_done_is_named(app: zerog.App, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a warning of the bulk job, with the reason."""
    uuid = waiting(app)

    def refuse(_uuid: str) -> str:
        raise zerog.JobStateError("it won't")

    monkeypatch.setattr(app, "cancel", refuse)
    assert done(app, api, {"verb": "cancel", "filters": {"type": "count"}}) == {"became": {}, "undone": 1}
    [job] = app.jobs(queue="zerog.bulk")
    assert [warning["msg"] for warning in app.info(job["uuid"])["warnings"]] == [f"{uuid}: it won't"]


def test_a_bulk_job_that_was_interrupted_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job is retried once, although those of before have failed again; counts go on."""
    app = zerog.App("memory://", clock=ManualClock())
    app.register(Count)
    made = []
    for _ in range(4):
        made.append(ended(app, "bad"))
        app.clock.advance(1)
    bulks = Bulks(app)
    bulks._thread = object()  # type: ignore[assignment]  # no worker of its own
    params = {"verb": "retry", "filters": {"type": "count"}, "options": {"who": "web"}, "limit": None}
    job = bulks.submit(params)
    app.move(job.uuid, "default")  # where the queue of this app is
    app.clock.advance(1)
    retry = app.retry

    def dying(uuid: str, *args: Any, **options: Any) -> None:
        if uuid == made[2]:
            raise RuntimeError("the server was stopped")
        retry(uuid, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(app, "retry", dying)
        assert run_inline(bulks._app, job.uuid).status == "failed"
    assert [run_inline(app, uuid).status for uuid in made[:2]] == ["failed", "failed"]
    bulks._app.retry(job.uuid)
    shown = run_inline(bulks._app, job.uuid)
    assert (shown.status, vars(shown)["became"]) == ("succeeded", {"queued": 4})
    retries = [sum("retried" in event["msg"] for event in app.info(uuid)["events"]) for uuid in made]
    assert retries == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"verb": "cancel"}, "filters"),
        ({"verb": "cancel", "filters": {}}, "at least one filter"),
        ({"verb": "purge", "filters": {"type": "count"}}, "verb"),
        ({"verb": "move", "filters": {"type": "count"}}, "a priority, or both"),
        ({"verb": "cancel", "filters": {"type": "count"}, "queue": "slow"}, "with move alone"),
        ({"verb": "retry", "filters": {"stalled": True}}, "cancelled or paused alone"),
        ({"verb": "cancel", "filters": {"stalled": True, "status": "failed"}}, "Only running"),
        ({"verb": "cancel", "filters": {"code": "5"}}, "not text"),
        ({"verb": "cancel", "filters": {"type": "count"}, "limit": 0}, "limit"),
        ({"verb": "move", "filters": {"type": "count"}, "queue": "a,b"}, "without commas"),
    ],
)
def test_a_wrong_request_is_refused(app: zerog.App, api: TestClient, body: Any, named: str) -> None:
    """Nothing is stored."""
    answer = api.post("/jobs/bulk", json=body)
    assert (answer.status_code, named in answer.text) == (422, True), answer.text
    assert list(app.jobs()) == []


def test_it_is_an_action_of_its_own(app: zerog.App) -> None:
    """A rule that decides on single jobs isn't asked about each, so it has to allow this one by name."""
    asked: list[str] = []

    def authorize(_request: object, action: str, job: object) -> bool:
        asked.append(action)
        return action != "bulk"

    refused = client(app, authorize=authorize).post("/jobs/bulk", json={"verb": "cancel", "filters": {"type": "count"}})
    assert (refused.status_code, asked) == (403, ["bulk"])
