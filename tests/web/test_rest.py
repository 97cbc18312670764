"""The contract of each path: what it answers, and what it does."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields
from starlette.testclient import TestClient

import zerog
from tests.web.builders import SECRET, UNKNOWN, Count, client, ended, make_app, waiting
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.testing import run_inline


def test_submit_stores_a_job_and_links_to_it(app: zerog.App, api: TestClient) -> None:
    given = {"type": "count", "params": {"path": "a"}, "priority": 3, "headers": {"x": "y"}, "delay": 60}
    answer = api.post("/jobs", json=given)
    job = app.get_job(answer.json()["uuid"])
    assert answer.status_code == 201
    assert answer.headers["location"] == answer.json()["links"]["progress"] == f"/jobs/{job.uuid}"
    assert (job.status, job.priority, job.headers, vars(job)["path"]) == ("scheduled", 3, {"x": "y"}, "a")
    assert api.get(answer.json()["links"]["document"]).status_code == 200


def test_a_uuid_may_be_repeated(app: zerog.App, api: TestClient) -> None:
    """The second try gets the same job; another job of that uuid is refused, and the first one stays."""
    given = {"type": "count", "params": {"path": "a"}, "uuid": UNKNOWN}
    assert [api.post("/jobs", json=given).status_code for _ in range(2)] == [201, 200]
    other = api.post("/jobs", json={**given, "params": {"path": "b"}})
    assert (other.status_code, other.json()["title"]) == (409, "Job exists")
    assert [job["uuid"] for job in app.jobs()] == [UNKNOWN]


@pytest.mark.parametrize(
    ("job_type", "options", "shown"),
    [("idle", {"unique": ["invoice", "42"]}, "invoice, 42"), ("once", {}, "path=a")],
    ids=["of the request", "of the class"],
)
def test_a_unique_key_names_one_job(
    app: zerog.App, api: TestClient, job_type: str, options: dict[str, Any], shown: str
) -> None:
    """Not to a client that may not read it."""

    class Once(Count):
        JOB_TYPE = "once"
        UNIQUE = ("path",)

    app.register(Once)
    body = {"type": job_type, "params": {"path": "a"} if job_type == "once" else {}, **options}
    first, again = api.post("/jobs", json=body), api.post("/jobs", json=body)
    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert again.json() == first.json()
    assert api.get(first.json()["links"]["progress"]).json()["uniqueKey"] == shown
    stranger = client(app, authorize=lambda _request, action, _job: action == "submit")
    assert stranger.post("/jobs", json=body).status_code == 404
    for wrong in ([], [""], [7], "invoice"):
        assert api.post("/jobs", json={**body, "unique": wrong}).status_code == 422


def test_parameters_may_be_of_another_version(app: zerog.App, api: TestClient) -> None:
    class Later(zerog.BaseJob):
        JOB_TYPE = "later"
        SCHEMA_VERSION = "2.0"
        Params = Schema.from_dict({"file": fields.String(required=True)})

        @zerog.migration("1.0", "2.0")
        @staticmethod
        def to_file(document: dict[str, Any]) -> dict[str, Any]:
            document["file"] = document.pop("path")
            return document

        def run(self) -> Any:
            raise NotImplementedError

    app.register(Later)
    body = {"type": "later", "params": {"path": "a"}}
    assert api.post("/jobs", json=body).status_code == 422
    old = api.post("/jobs", json={**body, "schema_version": 1})
    assert old.status_code == 201, old.text
    assert api.get(old.json()["links"]["document"]).json()["document"]["file"] == "a"
    new = api.post("/jobs", json={**body, "schema_version": 3})
    assert (new.status_code, new.json()["title"]) == (409, "Schema too new")


def test_an_unknown_type_names_the_known_ones(app: zerog.App, api: TestClient) -> None:
    for answer in (api.post("/jobs", json={"type": "coutn"}), api.post("/job/coutn", json={})):
        assert answer.status_code == 404
        assert "count" in answer.json()["detail"]
        assert "idle" in answer.json()["detail"]
        assert answer.json()["effect"] == "Nothing was stored or changed."
    assert list(app.jobs()) == []


def test_wrong_parameters_are_named_by_field(app: zerog.App, api: TestClient) -> None:
    answer = api.post("/jobs", json={"type": "count", "params": {"times": 99, "more": 1}})
    assert answer.status_code == 422
    assert answer.json()["errors"].keys() == {"path", "times", "more"}
    assert list(app.jobs()) == []


def test_progress_is_what_the_app_gives(app: zerog.App, api: TestClient) -> None:
    uuid = ended(app)
    assert api.get(f"/jobs/{uuid}").json() == api.get(f"/progress/{uuid}").json() == app.progress(uuid)
    assert api.get(f"/jobs/{uuid}/info").json() == api.get(f"/info/{uuid}").json() == app.info(uuid)


@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs/{}/info", "/progress/{}", "/info/{}"])
def test_what_has_not_changed_is_not_sent_again(app: zerog.App, api: TestClient, path: str) -> None:
    uuid = waiting(app)
    tag = api.get(path.format(uuid)).headers["etag"]
    again = api.get(path.format(uuid), headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    run_inline(app, uuid)
    assert api.get(path.format(uuid), headers={"If-None-Match": tag}).status_code == 200


def test_data_is_the_result(app: zerog.App, api: TestClient) -> None:
    uuid = ended(app)
    assert api.get(f"/jobs/{uuid}/data").json() == {"data": {"words": 3}, "status": "succeeded", "result": 200}
    assert api.get(f"/data/{uuid}").json() == {"words": 3}


def test_the_document_has_pages_of_history(app: zerog.App, api: TestClient) -> None:
    job = app.submit(Count, {"path": "a", "password": SECRET})
    for number in range(5):
        job.record_event(f"event {number}")
    first = api.get(f"/jobs/{job.uuid}/document?limit=2").json()
    assert [entry["msg"] for entry in first["document"]["events"]] == ["event 0", "event 1"]
    assert first["history"]["events"] == {"first": 0, "total": 5, "next": 2}
    last = api.get(f"/jobs/{job.uuid}/document?start=4&limit=2").json()
    assert [entry["msg"] for entry in last["document"]["events"]] == ["event 4"]
    assert last["history"]["events"]["next"] is None
    none = api.get(f"/jobs/{job.uuid}/document?limit=0").json()
    assert none["document"]["path"] == "a"
    assert none["document"]["events"] == []
    assert none["document"]["password"] == "[secret]"


def test_the_dump_of_the_earlier_api(app: zerog.App, api: TestClient) -> None:
    uuid = ended(app)
    assert "events" not in api.get(f"/dump/{uuid}").json()
    shown = api.get(f"/dump/{uuid}?showLogs=true").json()
    assert [entry["msg"] for entry in shown["events"]] == ["counted"]
    assert (shown["path"], shown["password"]) == ("good", "[secret]")


def test_the_earlier_path_takes_parameters_alone(app: zerog.App, api: TestClient) -> None:
    answer = api.post("/job/count", json={"path": "x"})
    assert answer.status_code == 201
    assert vars(app.get_job(answer.json()["uuid"]))["path"] == "x"


FILTERS = [
    {"status": "failed"},
    {"type": "idle"},
    {"queue": "slow"},
    {"error": "ValueError"},
    {"code": "500"},
    {"schema_version": "1"},
    {"stalled": "true"},
    {"order": "oldest"},
    {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00+01:00"},
    {"until": "2000-01-01T00:00:00Z"},
    {"error": "bad", "type": "count"},
    {"attr": "path=bad"},
    {"attr": "path=good", "status": "queued"},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_list_has_what_the_app_lists(app: zerog.App, api: TestClient, filters: dict[str, str]) -> None:
    """Page by page, whatever the size of a page: each job once."""
    for _ in range(3):
        ended(app), ended(app, "bad"), waiting(app, queue="slow"), app.submit("idle")
    found, cursor = [], {}
    for _ in range(20):
        page = api.get("/jobs", params={**filters, **cursor, "limit": "2"})
        assert page.status_code == 200, page.text
        found += page.json()["jobs"]
        cursor = {"cursor": page.json()["next"]}
        if cursor["cursor"] is None:
            break
    assert found == list(app.jobs(**_given(filters)))


def _given(filters: dict[str, str]) -> dict[str, Any]:
    kinds = {
        "code": int,
        "schema_version": float,
        "stalled": bool,
        "since": datetime.fromisoformat,
        "until": datetime.fromisoformat,
    }
    given = {name: kinds.get(name, str)(value) for name, value in filters.items()}
    if "attr" in given:
        name, _, value = given.pop("attr").partition("=")
        given["attrs"] = {name: value}
    given["job_type"] = given.pop("type", None)
    return {"order": "newest", **given}


def test_counts(app: zerog.App, api: TestClient) -> None:
    ended(app), waiting(app), waiting(app)
    assert api.get("/jobs/count").json() == {"number": 3, "is_capped": False}
    assert api.get("/jobs/count", params={"parked": "any"}).json() == {"number": 0, "is_capped": False}
    assert api.get("/jobs", params={"parked": "3 at once of type report"}).json()["jobs"] == []
    assert api.get("/jobs/count?status=queued&type=count").json()["number"] == 2


def test_counts_by_attributes(app: zerog.App, api: TestClient) -> None:
    waiting(app), ended(app, "bad"), ended(app, "bad")
    assert api.get("/jobs/count?attr=path%3Dbad").json()["number"] == 2
    assert api.get("/jobs/count?attr=bad").status_code == 422
    for path in ("/jobs", "/jobs/count"):
        refused = api.get(path, params={"attr": "pth=bad"})
        assert refused.status_code == 422
        assert "no registered class has the attribute 'pth' in its ATTRIBUTES; there is path (" in refused.text


def test_rates_are_those_of_the_app(app: zerog.App, api: TestClient) -> None:
    app.submit("idle")
    zerog.Worker(app).run(burst=True)
    shown = api.get("/rates?count=2").json()["rates"]
    assert len(shown) == 2
    assert sum(each["types"]["idle"]["runs"]["succeeded"] for each in shown if "idle" in each["types"]) == 1
    assert len(api.get("/rates?hourly=true").json()["rates"]) == 60
    assert api.get("/rates?count=0").status_code == 422


def test_cancel_and_too_late(app: zerog.App, api: TestClient) -> None:
    uuid = waiting(app)
    assert api.post(f"/jobs/{uuid}/cancel").json() == {"uuid": uuid, "status": "cancelled"}
    late = api.post(f"/jobs/{uuid}/cancel")
    assert (late.status_code, late.json()["errors"]) == (409, {"status": ["cancelled"]})


def test_pause_shows_who_and_why_until_the_resume(app: zerog.App, api: TestClient) -> None:
    uuid = waiting(app)
    paused = api.post(f"/jobs/{uuid}/pause", json={"reason": "the disk is full"})
    assert paused.json() == {"uuid": uuid, "status": "paused"}
    assert api.get("/jobs", params={"status": "paused"}).json()["jobs"][0]["paused"]["reason"] == "the disk is full"
    refused = api.post(f"/jobs/{uuid}/retry")
    assert (refused.status_code, refused.json()["errors"]) == (409, {"status": ["paused"]})
    assert api.post(f"/jobs/{uuid}/resume").json() == {"uuid": uuid, "status": "queued"}
    assert api.post(f"/jobs/{uuid}/resume").status_code == 409
    assert [event["who"] for event in app.info(uuid)["events"]] == ["web", "web"]


def test_a_submit_to_a_full_queue_is_to_be_tried_later(app: zerog.App, api: TestClient) -> None:
    app.fleet.settings.set_queue("tight", max_waiting=1)
    body = {"type": "count", "params": {"path": "good", "password": "x"}, "queue": "tight"}
    assert api.post("/jobs", json=body).status_code == 201
    refused = api.post("/jobs", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert "its max_waiting is 1" in refused.json()["detail"]


def test_a_move_to_a_full_queue_is_to_be_tried_later(app: zerog.App, api: TestClient) -> None:
    """The job stays where it was."""
    app.fleet.settings.set_queue("tight", max_waiting=1)
    waiting(app, queue="tight")
    uuid = waiting(app)
    refused = api.post(f"/jobs/{uuid}/move", json={"queue": "tight"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.headers["content-type"] == "application/problem+json"
    assert f"Job {uuid} stays on queue default" in refused.json()["detail"]
    assert app.get_job(uuid).queueName == "default"


def test_retry_records_who_and_why(app: zerog.App, api: TestClient) -> None:
    uuid = ended(app, "bad")
    assert api.post(f"/jobs/{uuid}/retry", json={"reason": "mended"}).json() == {"uuid": uuid, "status": "queued"}
    event = app.info(uuid)["events"][-1]
    assert event["who"] == "web"
    assert "mended" in event["msg"]
    assert api.post(f"/jobs/{uuid}/retry").status_code == 409


def test_an_edit_needs_the_token_that_was_read(app: zerog.App, api: TestClient) -> None:
    uuid = ended(app, "bad")
    path, edit = f"/jobs/{uuid}/params", {"params": {"path": "good"}, "reason": "typo", "retry": True}
    tag = api.get(f"/jobs/{uuid}/document").headers["etag"]
    assert api.patch(path, json=edit).status_code == 428
    tried = api.patch(f"{path}?dry_run=true", json=edit)
    assert tried.json()["changed"] == {"path": {"old": "bad", "new": "good"}}
    assert not tried.json()["written"]
    assert app.progress(uuid)["status"] == "failed"
    assert api.patch(path, json=edit, headers={"If-Match": '"1"'}).status_code == 412
    assert api.patch(path, json=edit, headers={"If-Match": "junk"}).status_code == 412
    assert api.patch(path, json=edit, headers={"If-Match": tag}).json()["written"]
    assert app.progress(uuid)["status"] == "queued"
    assert api.patch(path, json=edit, headers={"If-Match": tag}).status_code == 412
    assert api.patch(path, json={**edit, "params": {"nope": 1}}, headers={"If-Match": "*"}).status_code == 422


def test_discard_removes_what_has_ended(app: zerog.App, api: TestClient) -> None:
    uuid, other = ended(app), waiting(app)
    assert api.delete(f"/jobs/{uuid}").status_code == 204
    assert api.get(f"/jobs/{uuid}").status_code == 404
    assert api.delete(f"/jobs/{other}").status_code == 409
    assert app.progress(other)["status"] == "queued"


def test_types_have_schemas(app: zerog.App, api: TestClient) -> None:
    assert api.get("/types").json() == {"types": app.types()}
    assert api.get("/types/count").json() == app.types()[0]
    assert api.get("/types/count/schema").json() == app.types()[0]["params"]
    assert api.get("/types/none").status_code == 404


def test_queues_are_paused_and_resumed(app: zerog.App, api: TestClient) -> None:
    assert api.post("/queues/default/pause", json={"reason": "deploy"}).json()["changed"]
    assert app.fleet.paused()["default"]["reason"] == "deploy"
    assert api.get("/queues").json()["queues"] == app.fleet.queues()
    assert api.post("/queues/default/resume").json() == {"name": "default", "paused": False, "changed": True}
    assert app.fleet.paused() == {}


def test_workers_are_drained(app: zerog.App, api: TestClient) -> None:
    WorkerRecords(app.engine).renew(WorkerIdentity("alice", 30.0), 1, lambda: {"queues": ["default"]})
    assert [worker["name"] for worker in api.get("/workers").json()["workers"]] == ["alice"]
    ordered = api.post("/workers/drain", json={"names": ["alice"], "for_good": True}).json()["workers"]
    assert ordered[0]["drain"]["forGood"]
    assert app.workers()[0]["state"] == "draining"
    assert api.post("/workers/undrain", json={"all": True}).status_code == 200
    assert app.workers()[0]["drain"] is None
    assert api.post("/workers/drain", json={"names": ["bob"]}).status_code == 404
    assert api.post("/workers/drain", json={}).status_code == 422


def test_doctor_reports(app: zerog.App, api: TestClient) -> None:
    waiting(app)
    assert api.get("/doctor").json()["jobs"] == {"queued": 1}


def test_a_datastore_without_its_code(tmp_path: Path) -> None:
    """Jobs are shown, with their own fields hidden, and cancelled; what needs the class is refused."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with make_app(url) as app:
        uuid, done = waiting(app), ended(app)
    api = client(url)
    assert api.get(f"/jobs/{uuid}").json()["status"] == "queued"
    assert api.get(f"/jobs/{done}/data").json()["data"] == {"words": 3}
    assert api.get(f"/jobs/{uuid}/document").json()["document"]["path"] == "[secret]"
    assert api.post("/jobs", json={"type": "count", "params": {"path": "a"}}).status_code == 404
    edit = {"params": {"path": "b"}, "reason": "r"}
    assert api.patch(f"/jobs/{uuid}/params", json=edit, headers={"If-Match": "*"}).status_code == 409
    assert api.post(f"/jobs/{uuid}/cancel").json()["status"] == "cancelled"


def test_large_integers_travel_as_text(api: TestClient, app: zerog.App) -> None:
    job = app.submit(Count, {"path": "a"})
    job.update_attrs(output={"id": 2**60, "small": 5})
    assert api.get(f"/jobs/{job.uuid}/data").json()["data"] == {"id": str(2**60), "small": 5}
    assert type(api.get(f"/jobs/{job.uuid}/document").json()["cas"]) is str


def test_long_answers_are_compressed_for_those_who_ask(app: zerog.App) -> None:
    """But no short one, and no stream, whose events would wait."""
    uuid, api = waiting(app), client(app)
    for _ in range(20):
        waiting(app)
    gzip, plain = ({"Accept-Encoding": coding} for coding in ("gzip", "identity"))
    answer, whole = (api.get("/jobs", headers=headers) for headers in (gzip, plain))
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert "content-encoding" not in whole.headers
    assert int(answer.headers["content-length"]) < len(whole.content) / 3
    assert answer.json()["jobs"] == whole.json()["jobs"]
    for path in (f"/jobs/{uuid}/cancel", f"/jobs/{uuid}/stream"):
        assert "content-encoding" not in api.get(path, headers=gzip).headers
