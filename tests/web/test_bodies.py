"""Bad bodies and queries: refused by name, before anything is stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

import zerog
from tests.web.builders import HERE, client, make_app, waiting
from zerog.web import asgi, guard


@pytest.fixture
def app() -> zerog.App:
    return make_app()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"type": "idle", "priority": NaN}', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b'"idle"', 422),
        (b"null", 422),
        (b"", 422),
        (b'{"type": "idle", "params": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}", 422),
        (b'{"type": 5}', 422),
        (b'{"type": "idle", "priority": "3"}', 422),
        (b'{"type": "idle", "priority": true}', 422),
        (b'{"type": "idle", "priority": 1e400}', 422),
        (b'{"type": "idle", "delay": -1}', 422),
        (b'{"type": "idle", "at": "soon"}', 422),
        (b'{"type": "idle", "at": "9999-12-31T23:59:59-23:59"}', 422),
        (b'{"type": "idle", "uuid": "x"}', 422),
        (b'{"type": "idle", "queue": "a,b"}', 422),
        (b'{"type": "idle", "queue": "a\\u0000b"}', 422),
        (b'{"type": "idle", "headers": {"a": 1}}', 422),
        (b'{"type": "idle", "owner": "me"}', 422),
        (b'{"type": "count", "params": {"path": "a", "status": "succeeded"}}', 422),
        (b'{"type": "count", "params": {"path": "\\ud800"}}', 422),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_bad_body_is_refused(app: zerog.App, body: bytes, status: int) -> None:
    answer = client(app).post("/jobs", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.json()["effect"] == "Nothing was stored or changed."
    assert list(app.jobs()) == []


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "limit=0",
        "limit=201",
        "limit=1_0",
        "limit=ten",
        "code=1.5",
        "stalled=yes",
        "stalled=true&status=failed",
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B10:00",
        "cursor=x",
        "cursor=WzEsMl0=",
        "order=random",
        "unknown=1",
        "type=a&type=b",
        "queue=%00",
        "schema_version=NaN",
    ],
)
def test_a_bad_query_is_refused(app: zerog.App, query: str) -> None:
    answer = client(app).get(f"/jobs?{query}")
    assert answer.status_code == 422, answer.text


def test_a_long_body_is_refused(app: zerog.App) -> None:
    """Whether it declares its length or not; a body at the limit is read."""
    api = client(app, longest_body=1_000)
    long = json.dumps({"type": "count", "params": {"path": "a" * 1_000}}).encode()

    def parts() -> Iterator[bytes]:
        yield from (long[:500], long[500:])

    for content in (long, parts()):
        answer = api.post("/jobs", content=content, headers=JSON)
        assert answer.status_code == 413
        assert answer.json()["title"] == "Too large"
        assert answer.headers["connection"] == "close"
    filled = b'{"type": "idle"}'.ljust(1_000)
    assert api.post("/jobs", content=filled, headers=JSON).status_code == 201
    assert len(list(app.jobs())) == 1


def test_a_slow_body_is_given_up(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SLOWEST_BODY", 0.01)
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": "/jobs", "headers": headers, "client": HERE, "query_string": b""}
    anyio.run(asgi(app), scope, receive, send)
    assert sent[0]["status"] == 408


def test_a_slow_datastore_holds_up_no_other_request(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers run in threads: while one waits, another one is answered."""
    uuid = waiting(app)
    entered, may_go = threading.Event(), threading.Event()

    @contextmanager
    def slow() -> Iterator[None]:
        read = app.datastore.read_with_cas

        def wait(*arguments: Any, **options: Any) -> Any:
            entered.set()
            may_go.wait(20)
            return read(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(app.datastore, "read_with_cas", wait)
            yield

    answers = []
    with client(app) as api, slow():
        held = threading.Thread(target=lambda: answers.append(api.get(f"/jobs/{uuid}").status_code))
        held.start()
        assert entered.wait(20)
        assert api.get("/types").status_code == 200
        assert answers == []
        may_go.set()
        held.join()
    assert answers == [200]
