"""Streams of server-sent events: only what has changed of a job, or of the jobs that match filters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zerog.app import App
from zerog.exceptions import JobNotFound
from zerog.jobs.watching import Watcher
from zerog.records.job import TERMINAL
from zerog.web.answer import revision, to_json
from zerog.web.call import Call
from zerog.web.jobs import checked, query_of
from zerog.web.problems import Problem

log = logging.getLogger("zerog")

MOST = 500
"""Streams at once of one application."""

LONGEST = 3600.0
"""Seconds after which a stream ends, so that clients come again with what they may do then."""

PING, SLOWEST = 15, 30
"""Seconds between two comments that keep a connection open, and for which a client may not read."""

PAUSE = 2.0
"""Seconds between two polls of lists."""


Filters = tuple[tuple[str, Any], ...]


class _Counted(EventSourceResponse):
    """A stream that is counted until it ends."""

    def __init__(self, streams: Streams, events: AsyncGenerator[ServerSentEvent]) -> None:
        super().__init__(streams.bounded(events), ping=PING, send_timeout=SLOWEST, sep="\n")
        self._streams = streams
        streams.running += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.running -= 1


@dataclass
class Streams:
    """The streams of one application."""

    app: App
    longest: float = LONGEST
    most: int = MOST
    running: int = 0
    _lists: WeakKeyDictionary[Any, Watcher[Filters, list[Any]]] = field(default_factory=WeakKeyDictionary)

    async def job(self, call: Call) -> Response:
        """Return the stream of one job."""
        head = await run_in_threadpool(call.head)
        now = call.app.progress_of(head)
        known = call.request.headers.get("last-event-id")
        if now["status"] in TERMINAL and known == revision(to_json(now)):
            return Response(status_code=204)  # by which a browser comes no more
        return self._response(_job_events(self.app, str(head["uuid"]), known))

    async def jobs(self, call: Call) -> Response:
        """Return the stream of the jobs that match filters."""
        lists = self._lists.setdefault(asyncio.get_running_loop(), Watcher(self._read_lists, PAUSE))
        return self._response(
            _list_events(lists, tuple(sorted((name, _hashable(value)) for name, value in checked(call).items())))
        )

    def _response(self, events: AsyncGenerator[ServerSentEvent]) -> Response:
        if self.running >= self.most:
            raise Problem(
                503,
                "TooManyStreams",
                f"There are {self.most} streams already; poll instead.",
                headers={"Retry-After": "10"},
            )
        return _Counted(self, events)

    async def bounded(self, events: AsyncGenerator[ServerSentEvent]) -> AsyncGenerator[ServerSentEvent]:
        """Yield events for as long as a stream may take."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.longest
        async with aclosing(events):
            while True:
                try:
                    yield await asyncio.wait_for(anext(events), end - loop.time())
                except (StopAsyncIteration, TimeoutError):
                    return
                except JobNotFound:
                    yield ServerSentEvent("{}", event="gone", sep="\n")
                    return
                except Exception as error:
                    log.error("a stream ended: %s", error, exc_info=error)
                    return

    def _read_lists(self, queries: Collection[Filters]) -> Mapping[Filters, list[Any] | Exception]:
        return {query: self._read_list(query) for query in queries}

    def _read_list(self, query: Filters) -> list[Any] | Exception:
        filters = dict(query)
        limit = filters.pop("limit")
        try:
            page = query_of(filters).page(self.app.datastore, self.app.clock, None, limit)
        except Exception as error:  # of this query alone
            return error
        return [self.app.progress_of(head) for head in page.heads]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _event(name: str, data: Any, state: str) -> ServerSentEvent:
    return ServerSentEvent(to_json(data).decode(), event=name, id=state, sep="\n")


async def _job_events(app: App, uuid: str, known: str | None) -> AsyncGenerator[ServerSentEvent]:
    """Yield ``progress`` with the whole, unless the client has it; then ``change`` with what differs, last ``end``."""
    last: Mapping[str, Any] | None = None
    async with aclosing(app.follow(uuid)) as followed:
        async for progress in followed:
            state = revision(to_json(progress))
            if last is not None:
                changed = {name: value for name, value in progress.items() if last.get(name) != value}
                yield _event("change", changed, state)
            elif state != known:
                yield _event("progress", progress, state)
            last = progress
    if last is not None:
        ended = {"status": last["status"], "result": last["result"]}
        yield _event("end", ended, revision(to_json(last)))


async def _list_events(lists: Watcher[Filters, list[Any]], query: Filters) -> AsyncGenerator[ServerSentEvent]:
    """Yield ``jobs`` with all of the page, then ``change`` with the jobs that are new or differ, and those gone."""
    last: dict[str, Any] | None = None
    async with aclosing(lists.values(query)) as values:
        async for jobs in values:
            now = {job["uuid"]: job for job in jobs}
            state = revision(to_json(jobs))
            if last is None:
                yield _event("jobs", {"jobs": jobs}, state)
            else:
                changed = [job for uuid, job in now.items() if last.get(uuid) != job]
                yield _event("change", {"changed": changed, "gone": [uuid for uuid in last if uuid not in now]}, state)
            last = now


async def one_job(call: Call) -> Response:
    """Stream one job."""
    return await call.site.streams.job(call)


async def many_jobs(call: Call) -> Response:
    """Stream the jobs that match filters."""
    return await call.site.streams.jobs(call)
