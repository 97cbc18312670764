"""The JSON endpoints of the web examples, each through its framework's own test client."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import django.conf
import django.urls
import pytest
from marshmallow import fields

import zerog
from tests.examples.servers import COMMANDS, WEB, away, stalled_job
from tests.hostile import TEXTS

MODULES = ("jobs", "flask_app", "fastapi_app", "django_app")
UNKNOWN = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"
JSON = "application/json"

Call = Callable[..., tuple[int, Any]]
"""``call(method, path, body=b"", kind=JSON)`` returns the status and the answer, decoded if it is JSON."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The examples' modules, each on a separate datastore."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROG_URL", f"sqlite:///{tmp_path_factory.mktemp('web')}/jobs.db")
        patch.syspath_prepend(str(WEB))
        modules = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        yield modules
        modules.jobs.app.close()
        for name in MODULES:
            del sys.modules[name]
        # Django is configured once a process, which may come back to these tests.
        django.conf.settings._wrapped = django.conf.empty
        django.urls.clear_url_caches()


@pytest.fixture(params=COMMANDS)
def call(request: pytest.FixtureRequest, web: SimpleNamespace) -> Call:
    return {
        "examples/web/flask_app.py": flask_client,
        "examples/web/fastapi_app.py": fastapi_client,
        "examples/web/django_app.py": django_client,
    }[request.param](web)


def flask_client(web: SimpleNamespace) -> Call:
    client = web.flask_app.app.test_client()

    def call(method: str, path: str, body: bytes = b"", kind: str = JSON) -> tuple[int, Any]:
        with client.open(path, method=method, data=body, content_type=kind) as response:
            return response.status_code, response.json if response.is_json else response.text

    return call


def fastapi_client(web: SimpleNamespace) -> Call:
    from fastapi.testclient import TestClient

    client = TestClient(web.fastapi_app.app, base_url="http://localhost")

    def call(method: str, path: str, body: bytes = b"", kind: str = JSON) -> tuple[int, Any]:
        response = client.request(method, path, content=body, headers={"Content-Type": kind})
        return response.status_code, decoded(response.headers["Content-Type"], response.content)

    return call


def django_client(_web: SimpleNamespace, **options: Any) -> Call:
    from django.test import Client

    client = Client(headers={"host": "localhost"}, **options)

    def call(method: str, path: str, body: bytes = b"", kind: str = JSON) -> tuple[int, Any]:
        response = client.generic(method, path, body, kind)
        content = b"".join(response) if response.streaming else response.content
        response.close()
        return response.status_code, decoded(response.headers["Content-Type"], content)

    return call


def decoded(kind: str, content: bytes) -> Any:
    return json.loads(content) if kind.startswith(JSON) else content.decode()


def submit(call: Call, rows: str = "Ada, 12.50\nGrace, 7.25", pace: float = 0) -> str:
    status, answer = call("POST", "/jobs", json.dumps({"rows": rows, "pace": pace}).encode())
    assert status == 202, answer
    uuid: str = answer["uuid"]
    return uuid


def work(web: SimpleNamespace) -> None:
    """Run all that waits, as ``zerog worker --burst`` does."""
    zerog.Worker(web.jobs.app).run(burst=True)


def count(web: SimpleNamespace) -> int:
    return sum(1 for _ in web.jobs.app.jobs())


def test_a_job_from_its_submission_to_its_result(call: Call, web: SimpleNamespace) -> None:
    uuid = submit(call)
    status, progress = call("GET", f"/jobs/{uuid}")
    assert (status, progress["status"], progress["completeness"], progress["result"]) == (200, "queued", 0.0, -1)
    assert call("GET", f"/jobs/{uuid}/result") == (200, {"result": {}})
    work(web)
    assert call("GET", f"/jobs/{uuid}")[1]["completeness"] == 1.0
    info = call("GET", f"/jobs/{uuid}/info")[1]
    assert [event["msg"] for event in info["events"]] == ["line 1: 12.50 from Ada", "line 2: 7.25 from Grace"]
    assert call("GET", f"/jobs/{uuid}/result") == (200, {"result": {"rows": 2, "total": "19.75"}})


def test_wrong_parameters_are_named_field_by_field(call: Call, web: SimpleNamespace) -> None:
    before = count(web)
    status, answer = call("POST", "/jobs", b'{"rows": "", "pace": "fast", "uuid": "mine"}')
    assert status == 422
    assert set(answer["fields"]) == {"rows", "pace", "uuid"}
    assert answer["fields"]["pace"] == [fields.Float().error_messages["invalid"]]
    assert count(web) == before


@pytest.mark.parametrize("body", ["", "{", "null", "[]", '"text"', '{"rows": "\\ud800"}', '{"rows": NaN}'])
def test_a_body_that_is_no_object_of_parameters_stores_nothing(body: str, call: Call, web: SimpleNamespace) -> None:
    before = count(web)
    assert call("POST", "/jobs", body.encode())[0] in (400, 422)
    assert count(web) == before


def test_a_body_without_end_is_refused(call: Call, web: SimpleNamespace) -> None:
    before = count(web)
    assert call("POST", "/jobs", json.dumps({"rows": "Ada, 12.50\n" * 10_000}).encode())[0] in (400, 413)
    assert count(web) == before


@pytest.mark.parametrize("body", ["[" * 49_000, '{"rows": ' + "[" * 45_000 + "]" * 45_000 + "}", '{"a":' * 15_000])
def test_a_body_that_is_nested_too_deeply_is_the_clients_fault(body: str, call: Call, web: SimpleNamespace) -> None:
    before = count(web)
    status, answer = call("POST", "/jobs", body.encode())
    assert (status, "error" in answer or "detail" in answer) == (400, True)
    assert count(web) == before


def test_one_submit_costs_a_bounded_time_of_a_worker(call: Call, web: SimpleNamespace) -> None:
    before = count(web)
    status, answer = call("POST", "/jobs", json.dumps({"rows": "A, 1.00\n" * 1000, "pace": 60}).encode())
    assert (status, answer["fields"]["pace"]) == (422, ["This would take 60,000 s, longer than 3,600 s."])
    assert count(web) == before


def headers_of(module: str, web: SimpleNamespace, path: str, host: str) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer to a request with this Host."""
    if module == "flask_app":
        with web.flask_app.app.test_client().get(path, base_url=f"http://{host}") as response:
            return response.status_code, dict(response.headers)
    if module == "fastapi_app":
        from fastapi.testclient import TestClient

        answer = TestClient(web.fastapi_app.app, base_url=f"http://{host}").get(path)
        return answer.status_code, {name.title(): value for name, value in answer.headers.items()}
    from django.test import Client

    result = Client(headers={"host": host}).get(path)
    result.close()
    return result.status_code, dict(result.headers)


@pytest.mark.parametrize("module", MODULES[1:])
@pytest.mark.parametrize("path", ["/", "/static/page.js", f"/jobs/{UNKNOWN}", "/nowhere"])
def test_an_answer_is_neither_sniffed_nor_framed(module: str, path: str, web: SimpleNamespace) -> None:
    """Pages, files, answers and errors alike."""
    _, headers = headers_of(module, web, path, "localhost")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("module", MODULES[1:])
def test_another_host_is_refused(module: str, web: SimpleNamespace) -> None:
    """A name that an attacker lets point to this server (DNS rebinding) reaches no job."""
    assert headers_of(module, web, "/", "localhost")[0] == 200
    assert headers_of(module, web, "/", "evil.example")[0] == 400


def test_clients_see_times_and_messages_alone(call: Call, web: SimpleNamespace) -> None:
    """Not who edited or retried a job, why, or what its parameters were; nor types, tracebacks and values of errors."""
    uuid = submit(call, "Ada, 12.50\nsecret-before")
    web.jobs.app.edit(uuid, {"rows": "Ada, 12.50\nGrace"}, reason="secret-reason", who="secret-operator")
    work(web)
    web.jobs.app.retry(uuid, "secret-reason", "secret-operator")
    for path in (f"/jobs/{uuid}", f"/jobs/{uuid}/info"):
        status, answer = call("GET", path)
        assert status == 200
        assert "secret" not in json.dumps(answer)
        assert answer["lastError"].keys() == {"timestamp", "msg"}
    assert {*answer["events"][0], *answer["errors"][0]} == {"timestamp", "msg"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_hostile_text_is_data_for_the_endpoints(text: str, call: Call, web: SimpleNamespace) -> None:
    """It comes back as it was sent, as JSON, within the reason why the job failed."""
    status, answer = call("POST", "/jobs", json.dumps({"rows": text, "pace": 0}).encode())
    assert status == 202
    work(web)
    info = call("GET", f"/jobs/{answer['uuid']}/info")[1]
    assert repr(text.splitlines()[0][:80]) in info["errors"][-1]["msg"]
    assert call("GET", f"/jobs/{quote(text, safe='')}")[0] in (400, 404)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("client", [flask_client, fastapi_client, django_client])
def test_a_page_from_elsewhere_can_t_submit(client: Callable[..., Call], kind: str, web: SimpleNamespace) -> None:
    """A browser sends such requests for any page, without asking its user."""
    call = client(web, enforce_csrf_checks=True) if client is django_client else client(web)
    before = count(web)
    assert call("POST", "/jobs", b'{"rows": "Ada, 12.50"}', kind)[0] in (403, 415, 422)
    assert count(web) == before


@pytest.mark.parametrize("uuid", [UNKNOWN, "x", "%3Cb%3E"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/info"), ("GET", "/result"), ("DELETE", "")])
def test_what_is_no_job_is_not_found(uuid: str, method: str, rest: str, call: Call) -> None:
    status, answer = call(method, f"/jobs/{uuid}{rest}")
    assert status == 404
    assert ("there is no job" if uuid == UNKNOWN else "is no job uuid") in answer["error"]


def test_a_job_is_cancelled_once(call: Call, web: SimpleNamespace) -> None:
    uuid = submit(call)
    assert call("DELETE", f"/jobs/{uuid}") == (202, {"status": "cancelled"})
    status, answer = call("DELETE", f"/jobs/{uuid}")
    assert status == 409
    assert "cancelled already" in answer["error"]
    assert call("GET", f"/jobs/{uuid}")[1]["status"] == "cancelled"


def test_a_failed_job_stays_where_it_was_and_names_the_reason(call: Call, web: SimpleNamespace) -> None:
    uuid = submit(call, "Ada, 12.50\nGrace")
    work(web)
    info = call("GET", f"/jobs/{uuid}/info")[1]
    assert (info["status"], info["completeness"], info["result"]) == ("failed", 0.5, 422)
    assert info["errors"][-1]["msg"].startswith("line 2 is 'Grace'; expected")


def test_a_traceback_stays_inside(call: Call, web: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.jobs.ImportRows, "run", lambda _job: [][1])
    monkeypatch.setattr(web.jobs.ImportRows, "MAX_ERRORS", 1)
    uuid = submit(call)
    work(web)
    [error] = call("GET", f"/jobs/{uuid}/info")[1]["errors"]
    assert error["msg"] == "IndexError: list index out of range"
    assert "traceback" not in error
    assert web.jobs.app.info(uuid)["errors"][0]["traceback"].startswith("Traceback")


def test_a_run_without_a_sign_is_shown_as_stalled(call: Call, web: SimpleNamespace) -> None:
    answer = call("GET", f"/jobs/{stalled_job(web.jobs.app.datastore.file.path)}")[1]
    assert (answer["status"], answer["stalled"]) == ("running", True)


def test_a_datastore_that_is_down_is_reported_without_its_secrets(
    call: Call, web: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    uuid = submit(call)
    with away(web.jobs.app):
        for method, path in (("GET", ""), ("GET", "/info"), ("GET", "/result"), ("DELETE", "")):
            answer = call(method, f"/jobs/{uuid}{path}")
            assert answer == (503, {"error": "The jobs can't be reached at the moment."})
        assert call("POST", "/jobs", b'{"rows": "Ada, 12.50"}')[0] == 503
    assert "no such table" in caplog.text  # for the operator
    assert call("GET", f"/jobs/{uuid}")[0] == 200


def test_the_page_and_its_parts_are_served(call: Call) -> None:
    for path, words in (("/", "<title>Import"), ("/static/page.css", ":root"), ("/static/page.js", "use strict")):
        status, text = call("GET", path)
        assert (status, words in text) == (200, True)
