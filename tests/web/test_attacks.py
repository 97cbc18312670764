"""Attacks: each is refused, and nothing is stored, shown or logged that shouldn't be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from marshmallow import Schema, fields
from starlette.requests import Request

import zerog
from tests.hostile import TEXTS, unsafe
from tests.web.builders import SECRET, UNKNOWN, client, ended, make_app, waiting
from zerog.records.job import make_key
from zerog.web import access, asgi
from zerog.web.access import ACTIONS, READING, read_tokens
from zerog.web.endpoints import ENDPOINTS

READER, OPERATOR = "reader-0123456789abcdef", "operator-0123456789abcdef"
ELSEWHERE = ("192.0.2.7", 4711)

BODIES: dict[str, Any] = {
    "/jobs": {"type": "count", "params": {"path": "a"}},
    "/job/{type}": {"path": "a"},
    "/jobs/{uuid}/params": {"params": {"path": "b"}, "reason": "r"},
    "/jobs/bulk": {"verb": "retry", "filters": {"type": "count"}},
    "/jobs/{uuid}/move": {"queue": "slow"},
    "/schedules/{schedule}": {"type": "count", "params": {"path": "a"}, "cron": "0 3 * * *"},
    "/roles/{role}": {"queues": ["default"]},
    "/queues/{name}/settings": {"max_running": 5},
    "/workers/drain": {"all": True},
    "/workers/undrain": {"all": True},
}


@pytest.fixture
def app() -> zerog.App:
    return make_app()


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    file = tmp_path / "tokens"
    file.write_text(f"# tokens\nread {READER} Ann\n\noperate {OPERATOR} Bob B.\n")
    return str(file)


def requests(uuid: str, method: str | None = None) -> Iterator[tuple[str, str, Any, str]]:
    """A request for each endpoint that isn't open to all: method, path, body, action."""
    for endpoint in ENDPOINTS:
        if endpoint.action != "probe" and (method is None or endpoint.method == method):
            path = endpoint.path.format(uuid=uuid, type="count", name="default", schedule="nightly", role="heavy")
            body = None if endpoint.body is None else BODIES.get(endpoint.path, {})
            yield endpoint.method, path, body, endpoint.action


def stored(app: zerog.App) -> Any:
    """All that a request could change."""
    places = [app.datastore.read_with_cas(make_key(job["uuid"]))[1] for job in app.jobs()]
    limits = app.fleet.settings.queues()
    return list(app.jobs()), places, app.fleet.paused(), app.schedules.all(), app.fleet.settings.roles(), limits


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "", "[::2]"])
def test_a_foreign_host_is_refused(app: zerog.App, host: str) -> None:
    """As a page sends it whose name was made to lead to this machine."""
    uuid = waiting(app)
    for method, path, body, _ in requests(uuid):
        answer = client(app).request(method, path, json=body, headers={"Host": host})
        assert answer.status_code == 400, path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8070", "127.0.0.1:1", "[::1]:80", "localhost."])
def test_names_of_this_machine_are_answered(app: zerog.App, host: str) -> None:
    assert client(app).get("/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_a_cross_site_request_is_refused(app: zerog.App, headers: dict[str, str]) -> None:
    uuid = waiting(app)
    before = stored(app)
    for method, path, body, _ in requests(uuid):
        assert client(app).request(method, path, json=body, headers=headers).status_code == 403, path
    assert stored(app) == before


def test_a_form_of_another_site_is_refused(app: zerog.App) -> None:
    """Also in a browser that doesn't say where a request comes from: a form can't send JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client(app).post("/jobs", content='{"type":"idle"}', headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert list(app.jobs()) == []


def test_a_link_from_another_site_may_be_followed(app: zerog.App) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client(app).get("/docs", headers=headers).status_code == 200
    assert client(app).post("/jobs", json={"type": "idle"}, headers=headers).status_code == 403


def test_without_authentication_others_are_refused(app: zerog.App) -> None:
    """Other machines, what comes through a proxy, and clients of unknown origin."""
    uuid = waiting(app)
    for method, path, body, _ in requests(uuid):
        assert client(app, ELSEWHERE).request(method, path, json=body).status_code == 403, path
        forwarded = client(app).request(method, path, json=body, headers={"X-Forwarded-For": "192.0.2.7"})
        assert forwarded.status_code == 403, path
    assert client(app, ("::ffff:127.0.0.1", 1)).get("/jobs").status_code == 200
    assert client(app, ("", 0)).get("/jobs").status_code == 403


def test_no_token_no_answer(app: zerog.App, tokens: str) -> None:
    api, uuid = client(app, ELSEWHERE, tokens=tokens), waiting(app)
    before = stored(app)
    for given in (None, "Bearer nonsense", f"Basic {OPERATOR}", f"Bearer {OPERATOR[:-1]}", "Bearer \xe4", OPERATOR):
        headers = {} if given is None else {"Authorization": given.encode("latin-1").decode("latin-1")}
        for method, path, body, _ in requests(uuid):
            answer = api.request(method, path, json=body, headers={k: v.encode("latin-1") for k, v in headers.items()})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    assert stored(app) == before


def test_a_refusal_takes_the_same_time_for_any_token(
    app: zerog.App, tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a token can be learnt from it: hashes of one length are compared whole, each with all tokens."""
    compared: list[tuple[bytes, bytes]] = []
    compare = access.compare_digest
    monkeypatch.setattr(access, "compare_digest", lambda *both: compared.append(both) or compare(*both))
    api = client(app, ELSEWHERE, tokens=tokens)
    for given in ("", "x", READER[:-1], f"{READER}x", READER, OPERATOR):
        compared.clear()
        status = api.get("/jobs", headers={"Authorization": f"Bearer {given}"}).status_code
        assert status == (200 if given in (READER, OPERATOR) else 401)
        assert len(compared) == 2
        assert {len(digest) for both in compared for digest in both} == {32}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_description_is_for_those_who_may_read(app: zerog.App, tokens: str, path: str) -> None:
    """It names the types and their parameters."""
    api = client(app, ELSEWHERE, tokens=tokens)
    assert api.get(path).status_code == 401
    assert api.get(path, headers={"Authorization": f"Bearer {READER}"}).status_code == 200
    assert client(app, ELSEWHERE, authorize=lambda *_: False).get(path).status_code == 403
    assert client(app).get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client(app).get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_reader_changes_nothing(app: zerog.App, tokens: str) -> None:
    api, uuid = client(app, ELSEWHERE, tokens=tokens), waiting(app)
    before = stored(app)
    for method, path, body, action in requests(uuid):
        status = api.request(method, path, json=body, headers={"Authorization": f"Bearer {READER}"}).status_code
        assert (status == 403) == (action not in READING), path
    assert stored(app) == before


def test_an_operator_is_named_in_the_events(app: zerog.App, tokens: str) -> None:
    uuid = ended(app, "bad")
    api = client(app, ELSEWHERE, tokens=tokens)
    assert api.post(f"/jobs/{uuid}/retry", headers={"Authorization": f"bearer {OPERATOR}"}).status_code == 200
    assert app.info(uuid)["events"][-1]["who"] == "Bob B."


def test_what_authorize_refuses(app: zerog.App) -> None:
    """Each verb; a job that may not be read is answered like one that doesn't exist."""
    seen, allowed = [], set[str]()

    async def authorize(_request: Request, action: str, job: Any) -> bool:
        seen.append((action, job))
        return action in allowed

    api, uuid = client(app, ELSEWHERE, authorize=authorize), waiting(app)
    before = stored(app)
    for method, path, body, action in requests(uuid):
        answer = api.request(method, path, json=body, headers={"If-Match": "*"})
        assert answer.status_code == (404 if uuid in path else 403), path
        assert seen[-1][0] in (action, "read")
    assert api.get(f"/jobs/{uuid}").json()["detail"].replace(uuid, "") == (
        api.get(f"/jobs/{UNKNOWN}").json()["detail"].replace(UNKNOWN, "")
    )
    allowed.add("read")
    assert api.get(f"/jobs/{uuid}").status_code == 200
    assert api.post(f"/jobs/{uuid}/cancel").status_code == 403
    assert stored(app) == before
    assert SECRET not in repr(seen)
    assert {action for action, _ in seen} <= set(ACTIONS)


@pytest.mark.parametrize("answer", [1, "yes", None, "raise"])
def test_only_true_is_a_yes(app: zerog.App, answer: Any) -> None:
    def authorize(*_arguments: Any) -> Any:
        if answer == "raise":
            raise RuntimeError(SECRET)
        return answer

    refused = client(app, authorize=authorize).post("/jobs", json={"type": "idle"})
    assert refused.status_code == (500 if answer == "raise" else 403)
    assert SECRET not in refused.text
    assert list(app.jobs()) == []


def test_a_read_only_server_changes_nothing(app: zerog.App) -> None:
    api, uuid = client(app, read_only=True), waiting(app)
    before = stored(app)
    for method, path, body, _ in requests(uuid):
        assert (api.request(method, path, json=body).status_code == 403) == (method != "GET"), path
    assert stored(app) == before
    assert {method for path in api.get("/openapi.json").json()["paths"].values() for method in path} == {"get"}


def test_job_made_text_is_escaped_on_the_page() -> None:
    """Names of types and fields, titles and descriptions: the page has no element but its own, and no script."""
    attack = "<script>alert(1)</script>`<img src=x onerror=alert(2)>`\"'>"
    app = make_app()

    class Evil(zerog.BaseJob):
        JOB_TYPE = attack
        TITLE = attack
        Params = Schema.from_dict({"a": fields.String(metadata={"description": attack})}, name="<b>")

        def run(self) -> Any:
            raise NotImplementedError

    app.register(Evil)
    page = client(app).get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "<code>&lt;img" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert client(app).get("/openapi.json").headers["content-type"] == "application/json"


def test_text_of_a_class_reverses_and_hides_nothing_on_the_page() -> None:
    """Marks for the direction of text, and controls, are shown as escapes."""
    app = make_app()
    hidden = fields.String(metadata={"description": "\u202egnp.exe\u200b\x1b[2J"})
    part = fields.Nested(Schema.from_dict({"hidden": hidden}, name="Part"))
    members = {"JOB_TYPE": "odd", "Params": Schema.from_dict({"part": part}), "run": lambda job: 200}
    app.register(type("Odd", (zerog.BaseJob,), members))
    page = client(app).get("/docs").text
    assert r"\u202egnp.exe\u200b\x1b[2J" in page
    assert unsafe(page) == ""


@pytest.mark.parametrize(
    "path",
    ["/jobs/../../etc/passwd", "/jobs/..%2f..%2fetc%2fpasswd", "/jobs/%00", "/types/..%2f", "/dump/.%2e/x"],
)
def test_no_path_leads_elsewhere(app: zerog.App, path: str) -> None:
    assert client(app).get(path).status_code == 404


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_header_is_injected(app: zerog.App, text: str) -> None:
    """By a type, a queue or a reason; what is given back is JSON or quoted."""
    name = quote(text.encode("utf-8", "replace"), safe="")
    for answer in (
        client(app).get(f"/types/{name}"),
        client(app).post(f"/queues/{name}/pause", json={}),
        client(app).get(f"/jobs?type={name}"),
        client(app).get(f"/jobs/{name}"),
    ):
        assert answer.status_code < 500
        assert all("\n" not in value and "\r" not in value for value in answer.headers.values())


def test_secrets_stay_in_the_datastore(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    """In no answer, no problem, no log: of any request that names or finds the job, or repeats the secret wrongly."""
    caplog.set_level(logging.DEBUG)
    uuid = waiting(app)
    api = client(app)
    wrong = {"path": "", "password": [SECRET]}
    answers = [api.request(method, path, json=body) for method, path, body, _ in requests(uuid)]
    answers += [
        api.post("/jobs", json={"type": "count", "params": wrong}),
        api.post("/job/count", json=wrong),
        api.post(
            "/job/count", content=f'{{"password": "{SECRET}"'.encode(), headers={"Content-Type": "application/json"}
        ),
        api.patch(f"/jobs/{uuid}/params", json={"params": {"password": SECRET}, "reason": "r"}),
        api.patch(f"/jobs/{uuid}/params?dry_run=true", json={"params": {"password": "new"}, "reason": "r"}),
    ]
    assert [answer.url for answer in answers if SECRET in answer.text or SECRET in str(answer.headers)] == []
    assert SECRET not in caplog.text


def test_a_failure_of_the_datastore_names_no_server(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns that it may try again; the log has the reason, without the password."""
    api = client("redis://:hush-4711@127.0.0.1:1/0")
    answer = api.get(f"/jobs/{UNKNOWN}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "127.0.0.1" not in answer.text
    assert answer.json()["effect"] == "Nothing was stored or changed; try again later."
    assert "127.0.0.1" in caplog.text
    assert "hush-4711" not in caplog.text + answer.text


@pytest.mark.parametrize(
    ("content", "what"),
    [("read", "line 1"), ("write 0123456789012345678901", "line 1"), ("read short", "line 1"), ("# none", "no token")],
)
def test_a_bad_file_of_tokens_is_refused(tmp_path: Path, content: str, what: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(zerog.ConfigurationError, match=what) as raised:
        read_tokens(str(file))
    assert "0123456789" not in str(raised.value)


def test_wrong_options_are_refused(app: zerog.App, tmp_path: Path) -> None:
    with pytest.raises(zerog.ConfigurationError, match="prefix"):
        asgi(app, prefix="x/")
    with pytest.raises(zerog.ConfigurationError, match="authorize"):
        asgi(app, authorize=True)  # type: ignore[arg-type]
    with pytest.raises(zerog.ConfigurationError, match="can't be read"):
        asgi(app, tokens=str(tmp_path / "missing"))
