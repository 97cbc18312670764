"""Streams: only what has changed, resumed after a reconnect, bounded, and nothing polled once no listener is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sse_starlette.sse import SendTimeoutError

import zerog
from tests.web.builders import HERE, UNKNOWN, Count, client, ended, make_app, waiting
from zerog.jobs import following
from zerog.web import asgi, streams


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE", 0.005)
    monkeypatch.setattr(streams, "PAUSE", 0.005)


@pytest.fixture
def app() -> zerog.App:
    return make_app()


Event = tuple[str, Any, str | None]


def parsed(text: str) -> list[Event]:
    """The events of a stream: name, data, id."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id")))
    return found


class Listener:
    """A client of a stream, in the event loop of the test."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.text = ""
        self.came = asyncio.Event()

    async def events(self, number: int) -> list[Event]:
        """Wait until there are as many events."""
        while len(parsed(self.text)) < number:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 30)
        return parsed(self.text)

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        self.came.set()


@asynccontextmanager
async def listening(served: Any, path: str, query: str = "") -> AsyncIterator[Listener]:
    """Open a stream, and leave it like a client that disconnects."""
    listener, left, sent = Listener(), asyncio.Event(), []

    async def receive() -> Any:
        if not sent:
            sent.append(True)
            return {"type": "http.request", "body": b""}
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
        "client": HERE,
    }
    task = asyncio.create_task(served(scope, receive, listener.send))
    try:
        yield listener
    finally:
        left.set()
        await asyncio.wait_for(task, 30)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_stream_sends_what_changes_up_to_the_end(app: zerog.App) -> None:
    async def follow() -> None:
        job = app.submit(Count, {"path": "a"})
        async with listening(asgi(app), f"/jobs/{job.uuid}/stream") as listener:
            name, whole, state = (await listener.events(1))[0]
            assert (name, whole) == ("progress", app.progress(job.uuid))
            job.update_attrs(completeness=0.5)
            name, change, later = (await listener.events(2))[1]
            assert name == "change"
            assert change.keys() == {"completeness", "updatedAt"}
            assert later != state
            app.cancel(job.uuid)
            events = await listener.events(4)
            assert [name for name, _, _ in events[2:]] == ["change", "end"]
            assert events[-1][1] == {"status": "cancelled", "result": app.progress(job.uuid)["result"]}

    run(follow)


def test_a_client_that_comes_again_gets_what_it_missed(app: zerog.App) -> None:
    """A state that a client has is not repeated; after the end 204 keeps it from reconnecting."""
    uuid = waiting(app)
    api = client(app, longest_stream=0.2)
    first = parsed(api.get(f"/jobs/{uuid}/stream").text)
    assert [name for name, _, _ in first] == ["progress"]
    again = api.get(f"/jobs/{uuid}/stream", headers={"Last-Event-ID": str(first[0][2])})
    assert parsed(again.text) == []
    stale = parsed(api.get(f"/jobs/{uuid}/stream", headers={"Last-Event-ID": "7"}).text)
    assert [name for name, _, _ in stale] == ["progress"]
    app.cancel(uuid)
    last = parsed(api.get(f"/jobs/{uuid}/stream", headers={"Last-Event-ID": str(first[0][2])}).text)
    assert [name for name, _, _ in last] == ["progress", "end"]
    over = api.get(f"/jobs/{uuid}/stream", headers={"Last-Event-ID": str(last[-1][2])})
    assert (over.status_code, over.content) == (204, b"")


def test_the_id_of_an_event_is_the_etag_of_progress(app: zerog.App) -> None:
    """So that a client may go on by polling."""
    uuid = ended(app)
    api = client(app, longest_stream=30)  # it ends with the job
    state = parsed(api.get(f"/jobs/{uuid}/stream").text)[0][2]
    assert api.get(f"/jobs/{uuid}", headers={"If-None-Match": f'"{state}"'}).status_code == 304


def test_a_list_sends_jobs_that_come_change_and_go(app: zerog.App) -> None:
    async def follow() -> None:
        stays, changes = waiting(app), app.submit(Count, {"path": "a"})
        other = app.submit("idle").uuid
        async with listening(asgi(app), "/jobs/stream", "status=queued&type=count") as listener:
            name, data, _ = (await listener.events(1))[0]
            assert name == "jobs"
            assert {job["uuid"] for job in data["jobs"]} == {stays, changes.uuid}
            changes.update_attrs(completeness=0.5)
            name, data, _ = (await listener.events(2))[1]
            assert (name, data["gone"]) == ("change", [])
            assert [(job["uuid"], job["completeness"]) for job in data["changed"]] == [(changes.uuid, 0.5)]
            app.cancel(other)
            app.cancel(stays)
            name, data, _ = (await listener.events(3))[2]
            assert data == {"changed": [], "gone": [stays]}

    run(follow)


def test_many_listeners_cost_one_poll(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one job, and of one list; it ends with the last of them."""
    reads: list[int] = []
    read = app.datastore.read_heads
    monkeypatch.setattr(app.datastore, "read_heads", lambda keys: reads.append(len(keys)) or read(keys))

    async def follow() -> None:
        uuid, served = waiting(app), asgi(app)
        async with (
            listening(served, f"/jobs/{uuid}/stream") as first,
            listening(served, f"/jobs/{uuid}/stream") as other,
        ):
            await first.events(1)
            await other.events(1)
            count = len(reads)
            while len(reads) < count + 3:
                await asyncio.sleep(0)
            assert set(reads) == {1}
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        ours = [task for task in tasks if "Watcher" in repr(task)]
        _, polling = await asyncio.wait(ours, timeout=60) if ours else (set(), set())
        assert polling == set()

    run(follow)


def test_streams_are_bounded(app: zerog.App) -> None:
    """One more is refused; when one has ended, the next one is answered."""

    async def follow() -> None:
        served, path = asgi(app, most_streams=2), f"/jobs/{waiting(app)}/stream"
        async with listening(served, path) as first, listening(served, "/jobs/stream") as second:
            await first.events(1)
            await second.events(1)
            async with listening(served, path) as third:
                while third.status is None:
                    await third.came.wait()
                assert third.status == 503
                assert "Too many streams" in third.text
        async with listening(served, path) as fourth:
            await fourth.events(1)

    run(follow)


def test_a_client_that_does_not_read_is_cut_off(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error makes the server close the connection; another client has its place."""
    monkeypatch.setattr(streams, "SLOWEST", 0.05)

    async def attack() -> None:
        served, path = asgi(app, most_streams=1), f"/jobs/{waiting(app)}/stream"
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "client": HERE}
        asked = iter([{"type": "http.request", "body": b""}])

        async def receive() -> Any:
            return next(asked, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        with pytest.raises(SendTimeoutError):
            await asyncio.wait_for(served({**scope, "headers": [(b"host", b"localhost")]}, receive, send), 30)
        async with listening(served, path) as other:
            assert (await other.events(1))[0][0] == "progress"

    run(attack)


def test_a_removed_job_ends_its_stream(app: zerog.App) -> None:
    async def follow() -> None:
        uuid = waiting(app)
        async with listening(asgi(app), f"/jobs/{uuid}/stream") as listener:
            await listener.events(1)
            app.datastore.delete(f"zerog_job_{uuid}")
            assert (await listener.events(2))[1] == ("gone", {}, None)

    run(follow)


def test_what_is_refused_starts_no_stream(app: zerog.App) -> None:
    uuid = waiting(app)
    assert client(app).get(f"/jobs/{UNKNOWN}/stream").status_code == 404
    assert client(app).get("/jobs/stream?status=odd").status_code == 422
    assert client(app, ("192.0.2.7", 1)).get(f"/jobs/{uuid}/stream").status_code == 403
    refusing = client(app, authorize=lambda *_: False)
    assert refusing.get(f"/jobs/{uuid}/stream").status_code == 404
    assert refusing.get("/jobs/stream").status_code == 403


def test_job_made_text_cant_forge_an_event(app: zerog.App) -> None:
    """Line breaks in a message stay within its JSON text."""
    job = app.submit(Count, {"path": "a"}, max_errors=1)
    job.record_error(500, "x\n\nevent: end\ndata: {}\n\r\u2028id: 7")
    api = client(app, longest_stream=0.1)
    events = parsed(api.get(f"/jobs/{job.uuid}/stream").text)
    assert [name for name, _, _ in events] == ["progress"]
    assert events[0][1]["lastError"]["msg"] == "x\n\nevent: end\ndata: {}\n\r\u2028id: 7"
