"""Wrong clocks of machines, around a Redis server whose clock counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

import zerog
from tests.backends.redis.servers import RunningServer, started
from tests.marks import wide
from zerog.backends.redis.server import RedisServer
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.records.job import new_document
from zerog.support.clock import Clock, from_text, to_text

WORKER = WorkerIdentity("worker", 30.0)


class Wrong(Clock):
    """A machine whose wall clock is so many seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)


@pytest.fixture(scope="module")
def server() -> RunningServer:
    return started("valkey")


@pytest.fixture
def engine_of(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Callable[[float], Engine]]:
    """An engine of a machine whose clock is so many seconds ahead; all share one store."""
    prefix = f"t{time.monotonic_ns()}"
    apps: list[zerog.App] = []

    def make(ahead: float) -> Engine:
        url = f"redis://127.0.0.1:{server.port}/0?prefix={prefix}"
        queue = {"rq": f"rq+redis://127.0.0.1:{server.port}/1?prefix={prefix}", "redis": None}[request.param]
        apps.append(zerog.App(datastore=url, queue=queue or url, clock=Wrong(ahead)))
        return apps[-1].engine

    yield make
    for app in apps:
        app.close()


def started_after(submitter: Engine, worker: Engine, delay: float, limit: float) -> float:
    """Seconds from the submit with a delay to the claim."""
    queue = f"q{time.monotonic_ns()}"
    document = {**new_document("test", 1.0, to_text(submitter.clock.now())), "queueName": queue}
    begun = time.monotonic()
    submitter.submit([document], delay)
    while time.monotonic() - begun < limit:
        claims = worker.claim(1, WORKER, lambda head: None, [queue])
        if claims:
            worker.settle([Settlement(claims[0], "finish", 1, 200)])
            return time.monotonic() - begun
        worker.wait_ready(0.1, [queue])
    raise AssertionError(f"not started within {limit} s")


@pytest.mark.parametrize("engine_of", ["redis", "rq"], indirect=True)
@pytest.mark.parametrize(("submits", "works"), [(0, 3600), *wide((3600, 0), (-3600, 0), (0, -3600), (3600, -3600))])
def test_a_delay_is_measured_by_the_server_s_clock(
    engine_of: Callable[[float], Engine], submits: float, works: float
) -> None:
    """Whatever the clocks of clients and workers."""
    assert started_after(engine_of(submits), engine_of(works), 1.5, 20) >= 1.5


@pytest.mark.parametrize("engine_of", ["redis"], indirect=True)
def test_a_time_to_start_is_measured_by_the_server_s_clock(
    server: RunningServer, engine_of: Callable[[float], Engine]
) -> None:
    """``at`` is a moment, and the server knows which one it is now."""
    url = f"redis://127.0.0.1:{server.port}/0?prefix=at{time.monotonic_ns()}"
    with zerog.App(url, clock=Wrong(3600)) as app:

        @app.job
        def work(job: zerog.BaseJob) -> None:
            pass

        at = datetime.now(UTC) + timedelta(seconds=600)
        job = app.submit(work, at=at)
        stored = from_text(app.engine.read(job.uuid)[0]["notBefore"])
    assert abs((stored - at).total_seconds()) < 60


def test_the_server_s_clock_is_read_once(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that are made anyway bring the time along."""
    redis = RedisServer(f"redis://127.0.0.1:{server.port}/0?prefix=clock", Wrong(-7200))
    asked: list[object] = []
    ask = redis.ask
    monkeypatch.setattr(redis, "ask", lambda *words: (asked.append(words), ask(*words))[1])
    for _ in range(5):
        redis.call([{"command": "size", "queue": "default"}], "a test", writes=False)
        assert abs((redis.now() - datetime.now(UTC)).total_seconds()) < 5
    assert not [words for words in asked if b"TIME" in words]
    redis.close()


def test_the_server_s_clock_is_read_again_after_a_long_pause(server: RunningServer) -> None:
    """The first time, and after a minute without an answer."""

    class Quick(Wrong):
        passed = 0.0

        def monotonic(self) -> float:
            return time.monotonic() + self.passed

    clock = Quick(0)
    redis = RedisServer(f"redis://127.0.0.1:{server.port}/0?prefix=clock", clock)
    assert abs((redis.now() - datetime.now(UTC)).total_seconds()) < 5
    clock.passed = 3600  # the machine was asleep, by another measure
    assert abs((redis.now() - datetime.now(UTC)).total_seconds()) < 5
    redis.close()


def test_a_step_of_the_server_s_clock_is_followed_at_once() -> None:
    """Answers that contradict what is known correct it; those that don't leave it as it is."""

    class Counted(Clock):
        seconds = 100.0

        def monotonic(self) -> float:
            return self.seconds

    clock = Counted()
    redis = RedisServer("redis://127.0.0.1:1/0", clock)

    def recorded(time_of_server: float, took: float) -> float:
        clock.seconds += took
        redis._note_time(time_of_server, clock.seconds - took)
        return redis.now().timestamp() - clock.seconds

    assert recorded(1_000_000.0, 0.0) == 1_000_000.0 - 100.0
    assert recorded(1_000_000.0 + 1.0, 2.0) == 1_000_000.0 - 100.0
    assert recorded(2_000_000.0, 0.0) == 2_000_000.0 - 102.0
    assert recorded(1_000_000.0, 0.0) == 1_000_000.0 - 102.0
