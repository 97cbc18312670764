"""Roles and the limits of queues over REST: what each path answers, and what it changes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

import zerog
from tests.web.builders import client


def test_a_role_is_set_shown_changed_and_removed(app: zerog.App, api: TestClient) -> None:
    put = api.put("/roles/heavy", json={"queues": ["reports", "exports"]})
    assert (put.status_code, put.json()["queues"], put.json()["by"]) == (200, ["reports", "exports"], "web")
    assert app.fleet.settings.roles()["heavy"]["queues"] == ["reports", "exports"]
    assert api.put("/roles/heavy", json={"queues": ["exports"]}).json()["queues"] == ["exports"]
    assert api.get("/roles/heavy").json() == {"name": "heavy", "workers": 0, **app.fleet.settings.roles()["heavy"]}
    assert [role["name"] for role in api.get("/roles").json()["roles"]] == ["heavy"]
    assert api.delete("/roles/heavy").status_code == 204
    assert (app.fleet.settings.roles(), api.get("/roles").json()) == ({}, {"roles": []})


def test_a_role_shows_its_workers_also_if_it_is_not_set(app: zerog.App, api: TestClient) -> None:
    with zerog.Worker(app, role="heavy"):
        assert api.get("/roles/heavy").json() == {
            "name": "heavy",
            "queues": None,
            "since": None,
            "by": None,
            "workers": 1,
        }
        api.put("/roles/light", json={"queues": ["default"]})
        assert {role["name"]: role["workers"] for role in api.get("/roles").json()["roles"]} == {"heavy": 1, "light": 0}


def test_an_unknown_role_is_named(app: zerog.App, api: TestClient) -> None:
    app.fleet.settings.set_role("light", ["default"])
    for method in ("GET", "DELETE"):
        answer = api.request(method, "/roles/heavy")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["detail"] == "there is no role heavy; known: light."


@pytest.mark.parametrize(
    ("path", "given", "named"),
    [
        ("heavy", {}, "queues"),
        ("heavy", {"queues": []}, "queues"),
        ("heavy", {"queues": "reports"}, "queues"),
        ("heavy", {"queues": ["a,b"]}, "a,b"),
        ("a%20b", {"queues": ["reports"]}, "a b"),
        ("heavy", {"queues": ["reports"], "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_role_is_refused(app: zerog.App, api: TestClient, path: str, given: Any, named: str) -> None:
    """The value is named, and nothing is stored."""
    answer = api.put(f"/roles/{path}", json=given)
    assert (answer.status_code, named in answer.text) == (422, True), answer.text
    assert app.fleet.settings.roles() == {}


def test_limits_of_a_queue_are_changed_one_by_one(app: zerog.App, api: TestClient) -> None:
    """What isn't given stays, and null removes a limit."""
    unset = {"name": "reports", **dict.fromkeys(("maxRunning", "rate", "maxWaiting", "since", "by"))}
    assert api.get("/queues/reports/settings").json() == unset
    first = api.patch("/queues/reports/settings", json={"max_running": 5, "rate": "100/hour"}).json()
    assert (first["maxRunning"], first["rate"], first["maxWaiting"], first["by"]) == (5, "100/hour", None, "web")
    second = api.patch("/queues/reports/settings", json={"max_running": None, "max_waiting": 7}).json()
    assert (second["maxRunning"], second["rate"], second["maxWaiting"]) == (None, "100/hour", 7)
    assert api.get("/queues/reports/settings").json() == second
    [queue] = [each for each in api.get("/queues").json()["queues"] if each["name"] == "reports"]
    assert queue["limits"] == app.fleet.settings.queues()["reports"]
    api.patch("/queues/reports/settings", json={"rate": None, "max_waiting": None})
    assert api.get("/queues/reports/settings").json() == unset


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("reports", {}, "max_running"),
        ("reports", {"max_running": 0}, "max_running"),
        ("reports", {"max_running": "5"}, "max_running"),
        ("reports", {"max_waiting": 2**53}, "max_waiting"),
        ("reports", {"rate": "100/week"}, "100/week"),
        ("a,b", {"max_running": 1}, "a,b"),
        ("reports", {"maxRunning": 5}, "maxRunning"),
    ],
)
def test_wrong_limits_are_refused(app: zerog.App, api: TestClient, name: str, given: Any, named: str) -> None:
    """The value is named, and nothing is changed."""
    answer = api.patch(f"/queues/{name}/settings", json=given)
    assert (answer.status_code, named in answer.text) == (422, True), answer.text
    assert app.fleet.settings.queues() == {}


def test_a_read_only_server_changes_no_settings(app: zerog.App) -> None:
    app.fleet.settings.set_role("heavy", ["reports"])
    api = client(app, read_only=True)
    for method, path, body in (
        ("PUT", "/roles/heavy", {"queues": ["exports"]}),
        ("DELETE", "/roles/heavy", None),
        ("PATCH", "/queues/reports/settings", {"max_running": 1}),
    ):
        assert api.request(method, path, json=body).status_code == 403
    assert api.get("/roles/heavy").json()["queues"] == ["reports"]
    assert app.fleet.settings.queues() == {}
    assert "/roles/{role}" in api.get("/openapi.json").json()["paths"]


def test_a_rule_of_the_host_application_decides_on_settings(app: zerog.App) -> None:
    asked: list[str] = []
    api = client(app, authorize=lambda request, action, job: asked.append(action) or action == "read")
    assert api.get("/roles").status_code == 200
    assert api.put("/roles/heavy", json={"queues": ["exports"]}).status_code == 403
    assert api.patch("/queues/reports/settings", json={"max_running": 1}).status_code == 403
    assert asked == ["read", "configure", "configure"]
    assert (app.fleet.settings.roles(), app.fleet.settings.queues()) == ({}, {})
