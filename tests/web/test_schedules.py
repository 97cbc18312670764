"""Schedules, failures by place, stored schemas and moves over REST: what each path answers, and what it does."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

import zerog
from tests.web.builders import SECRET, UNKNOWN, client, ended, waiting
from zerog.schemas.describe import described
from zerog.schemas.stored import StoredSchemas
from zerog.web import stored

NIGHTLY = {"type": "count", "params": {"path": "a", "password": SECRET}, "cron": "0 3 * * *", "timezone": "Europe/Oslo"}


def test_a_schedule_is_added_shown_and_changed(app: zerog.App, api: TestClient) -> None:
    """With its next five runs; secrets stay hidden, and an operator is named in its events."""
    added = api.put("/schedules/nightly", json=NIGHTLY)
    assert added.status_code == 200
    shown = api.get("/schedules/nightly").json()
    assert (shown["state"], shown["byHand"], shown["jobType"], len(shown["next"])) == ("active", True, "count", 5)
    assert SECRET not in added.text
    assert shown["events"][-1]["by"] == "web"
    changed = api.put("/schedules/nightly", json={"type": "idle", "every": 300, "overlap": "queue"}).json()
    assert (changed["jobType"], changed["every"], changed["cron"], changed["overlap"]) == ("idle", 300, None, "queue")
    assert [each["name"] for each in api.get("/schedules").json()["schedules"]] == ["nightly"]


def test_a_schedule_is_paused_resumed_run_and_removed(app: zerog.App, api: TestClient) -> None:
    """Each says whether anything was changed; a removed one is listed if that is asked for."""
    api.put("/schedules/nightly", json=NIGHTLY)
    pauses = [api.post("/schedules/nightly/pause", json={"reason": "full"}).json() for _ in range(2)]
    assert [pause["changed"] for pause in pauses] == [True, False]
    assert app.schedules.get("nightly")["paused"]["reason"] == "full"
    assert [api.post("/schedules/nightly/resume").json()["changed"] for _ in range(2)] == [True, False]
    made = api.post("/schedules/nightly/run")
    assert made.status_code == 201
    assert api.get(made.headers["location"]).json()["jobType"] == "count"
    assert api.delete("/schedules/nightly").status_code == 204
    assert api.get("/schedules").json() == {"schedules": []}
    listed = api.get("/schedules", params={"removed": "true"}).json()["schedules"]
    assert [each["state"] for each in listed] == ["removed"]
    assert api.delete("/schedules/nightly").status_code == 404


def test_a_schedule_becomes_what_the_code_declares(app: zerog.App, api: TestClient) -> None:
    """In place of what was given by hand; one that isn't declared can't."""
    app.schedule("nightly", "0 5 * * *", "idle")
    api.put("/schedules/nightly", json=NIGHTLY)
    restored = api.post("/schedules/nightly/restore").json()
    assert (restored["cron"], restored["jobType"], restored["byHand"]) == ("0 5 * * *", "idle", False)
    assert api.post("/schedules/other/restore").status_code == 404


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [
        ({**NIGHTLY, "every": 5}, 422, "either cron or every"),
        ({"type": "idle"}, 422, "either cron or every"),
        ({**NIGHTLY, "cron": "0 25 * * *"}, 422, "0 25 * * *"),
        ({**NIGHTLY, "timezone": "Europe/Nowhere"}, 422, "Europe/Nowhere"),
        ({**NIGHTLY, "overlap": "both"}, 422, "overlap"),
        ({**NIGHTLY, "params": {}}, 422, "path"),
        ({**NIGHTLY, "type": "coutn"}, 404, "count"),
        ({**NIGHTLY, "colour": "red"}, 422, "colour"),
    ],
)
def test_a_wrong_schedule_is_refused(app: zerog.App, api: TestClient, given: Any, status: int, named: str) -> None:
    """The value is named, and nothing is stored."""
    answer = api.put("/schedules/nightly", json=given)
    assert (answer.status_code, named in answer.text) == (status, True), answer.text
    assert app.schedules.all() == []


def test_an_unknown_schedule_is_named(api: TestClient) -> None:
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run"), ("DELETE", "")):
        answer = api.request(method, f"/schedules/nightly{path}", json={} if path == "/pause" else None)
        assert (answer.status_code, "nightly" in answer.json()["detail"]) == (404, True)
    assert api.get("/schedules/a%20b").status_code == 422


def test_a_waiting_job_is_moved(app: zerog.App, api: TestClient) -> None:
    """Once; its events name the client. One that doesn't wait is refused with its status."""
    uuid = waiting(app)
    moves = [api.post(f"/jobs/{uuid}/move", json={"queue": "slow", "priority": 4}).json() for _ in range(2)]
    assert [move["moved"] for move in moves] == [True, False]
    job = app.get_job(uuid)
    assert (job.queueName, job.priority) == ("slow", 4)
    assert "moved by web from queue default" in app.info(uuid)["events"][-1]["msg"]
    refused = api.post(f"/jobs/{ended(app)}/move", json={"priority": 1})
    assert (refused.status_code, refused.json()["errors"]) == (409, {"status": ["succeeded"]})
    for body in ({}, {"reason": "no"}, {"queue": "a,b"}, {"priority": 1.5}):
        assert api.post(f"/jobs/{uuid}/move", json=body).status_code == 422
    assert api.post(f"/jobs/{UNKNOWN}/move", json={"priority": 1}).status_code == 404


def test_failures_are_grouped(app: zerog.App, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place in the code; the fingerprint finds the jobs again."""
    failed = {ended(app, "bad") for _ in range(3)}
    ended(app)
    answer = api.get("/errors").json()
    [group] = answer["groups"]
    assert (group["count"], group["job_type"], group["error"], answer["is_capped"]) == (3, "count", "ValueError", False)
    assert "the path is bad" in group["msg"]
    found = api.get("/jobs", params={"error": group["fingerprint"]}).json()["jobs"]
    assert {job["uuid"] for job in found} == failed
    assert api.get("/errors", params={"type": "idle"}).json()["groups"] == []
    monkeypatch.setattr(stored, "LOOKED_AT", 1)
    capped = api.get("/errors").json()
    assert (capped["groups"][0]["count"], capped["is_capped"]) == (1, True)
    assert api.get("/errors", params={"limit": "0"}).status_code == 422


def test_stored_schemas_are_shown(app: zerog.App) -> None:
    """Also to a server that has no code."""
    StoredSchemas(app.engine).record([described(app.job_class("count"))], "v7")
    bare = zerog.App(datastore=app.datastore, queue=app.queue)
    api = client(bare)
    assert api.get("/schemas").json() == {"types": ["count"]}
    [schema] = api.get("/schemas/count").json()["schemas"]
    assert (schema["builds"], schema["schemaVersion"], schema["schema"]["jobType"]) == (["v7"], 1.0, "count")
    assert api.get("/schemas/idle").status_code == 404
