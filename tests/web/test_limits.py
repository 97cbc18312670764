"""The limits that hold now, over REST: of types, keys and queues, with how many jobs run and are parked."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import Schema, fields
from starlette.testclient import TestClient

import zerog
from tests.web.builders import client
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.maintenance import limits

ALICE = WorkerIdentity("alice", 30.0)


def with_limits(app: zerog.App, most: int = 2, rate: str | None = None) -> type[zerog.BaseJob]:
    """A class with limits, registered at an app."""

    class Report(zerog.BaseJob):
        JOB_TYPE = "report"
        ATTRIBUTES = ("customer",)
        MAX_RUNNING = most
        RATE = rate
        CONCURRENCY_KEY = "customer"
        MAX_RUNNING_PER_KEY = 1

        class Params(Schema):
            customer = fields.String(required=True)

        def run(self) -> Any:
            return 200

    app.register(Report)
    return Report


def shown(api: TestClient, **query: str) -> dict[str, Any]:
    """What the API shows, by limit."""
    answer = api.get("/limits", params=query)
    assert answer.status_code == 200, answer.text
    return {limit.pop("limit"): limit for limit in answer.json()["limits"]}


def claimed(app: zerog.App, *customers: str) -> list[Any]:
    """Runs of jobs of customers, as many as the limits let begin."""
    for customer in customers:
        app.submit("report", {"customer": customer})
    return app.engine.claim(len(customers), ALICE, app.registry.load_head)


def test_limits_show_how_many_jobs_run_and_are_parked(app: zerog.App, api: TestClient) -> None:
    """Those of keys, too, at which any do; once a run has ended its slot is not counted."""
    with_limits(app)
    assert shown(api)["2 at once of type report"] == {
        "kind": "type",
        "name": "report",
        "attribute": None,
        "value": None,
        "most": 2,
        "rate": None,
        "is_stored": False,
        "declared": {"most": 2, "rate": None},
        "running": 0,
        "parked": 0,
    }
    claims = claimed(app, "ada", "ada", "eve", "bob")
    found = shown(api)
    numbers = {limit: (each["running"], each["parked"]) for limit, each in found.items()}
    of_key = "1 at once of type report with customer="
    assert numbers == {"2 at once of type report": (2, 1), f"{of_key}ada": (1, 1), f"{of_key}eve": (1, 0)}
    assert (found[f"{of_key}ada"]["attribute"], found[f"{of_key}ada"]["value"]) == ("customer", "ada")
    app.engine.settle([Settlement(claims[0], "finish", 1, 200)])  # the slot is given back later, or never
    assert shown(api)["2 at once of type report"]["running"] == 1


def test_what_is_stored_holds_until_a_job_meets_the_new_limit(app: zerog.App) -> None:
    """The code of a server that was deployed first is shown beside it."""
    with_limits(app)
    claimed(app, "ada", "eve", "bob")
    newer = zerog.App(datastore=app.datastore, queue=app.queue)
    with_limits(newer, most=5)
    limit = shown(client(newer))["2 at once of type report"]
    assert (limit["most"], limit["is_stored"], limit["declared"]) == (2, True, {"most": 5, "rate": None})
    assert (limit["running"], limit["parked"]) == (2, 1)


def test_limits_of_queues_and_rates_are_shown(app: zerog.App, api: TestClient) -> None:
    """Of one type only its own."""
    with_limits(app, rate="100/hour")
    app.fleet.settings.set_queue("default", max_running=1, rate="5/second", max_waiting=9)
    assert {limit: each["rate"] for limit, each in shown(api).items()} == {
        "1 at once of queue default": None,
        "5/second of queue default": "5/second",
        "2 at once of type report": None,
        "100/hour of type report": "100/hour",
    }
    assert shown(api)["100/hour of type report"]["running"] is None
    assert list(shown(api, type="report")) == ["2 at once of type report", "100/hour of type report"]
    assert shown(api, type="idle") == {}


def test_a_server_without_the_code_shows_where_jobs_are_parked(app: zerog.App) -> None:
    with_limits(app)
    claimed(app, "ada", "ada")
    bare = zerog.App(datastore=app.datastore, queue=app.queue)
    [limit] = shown(client(bare)).values()
    assert (limit["value"], limit["running"], limit["parked"], limit["declared"]) == ("ada", 1, 1, None)


def test_a_datastore_that_parks_no_jobs_has_no_number(
    app: zerog.App, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limits(app)
    monkeypatch.setattr(type(app.datastore), "can_find_terms", False)
    assert shown(api)["2 at once of type report"]["parked"] is None


def test_many_limits_are_cut_off(app: zerog.App, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of queues and types stay, then come the keys at which most jobs are parked."""
    with_limits(app)
    claimed(app, "ada", "eve", "eve")
    assert api.get("/limits").json()["is_capped"] is False
    monkeypatch.setattr(limits, "SHOWN", 2)
    answer = api.get("/limits").json()
    assert ([each["value"] for each in answer["limits"]], answer["is_capped"]) == ([None, "eve"], True)
