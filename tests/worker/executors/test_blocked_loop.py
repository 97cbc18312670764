"""Jobs that block the loop they share are named, with the place in their code."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.blocking_job import add
from tests.worker.builders import Running
from zerog.testing.clock import ManualClock
from zerog.worker.executors import blocked_loop
from zerog.worker.executors.blocked_loop import HELD_SECONDS, BlockedLoopDetector


class Loop:
    """An event loop in a thread, and a watcher outside it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.clock = ManualClock()
        self.held = BlockedLoopDetector(self.loop, self.thread, self.clock, lambda _task: "")
        self.go = threading.Event()

    def hold(self) -> None:
        """Block it until ``go``."""
        began = threading.Event()

        def work() -> None:
            began.set()
            self.go.wait(60)

        self.loop.call_soon_threadsafe(work)
        assert began.wait(20)

    def look(self, seconds: float, pace: float = 0.5) -> None:
        """Poll it at this pace, for so many seconds."""
        for _ in range(int(seconds / pace)):
            self.clock.advance(pace)
            self.held.look()

    def answer(self) -> None:
        """Unblock it and wait until it has answered."""
        self.go.set()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(20)

    def end(self) -> None:
        self.answer()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    one = Loop()
    yield one
    one.end()


def recorded(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event loop" in record.getMessage()]


def test_a_blocked_loop_is_logged_once_while_it_lasts_and_once_when_it_is_over(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.held.look()
    loop.answer()
    loop.go.clear()
    loop.hold()
    loop.look(HELD_SECONDS)
    assert recorded(caplog) == []  # the first poll only sends the probe
    loop.look(3 * HELD_SECONDS)
    (message,) = recorded(caplog)
    assert "a task blocks the event loop, for 5 s by now" in message and "in work\n" in message
    loop.answer()
    assert recorded(caplog)[1:] == ["the event loop is no longer blocked; it was blocked for 20 s"]


def test_a_loop_that_answers_is_not_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        loop.look(HELD_SECONDS, pace=HELD_SECONDS)
        loop.answer()
    assert recorded(caplog) == []


def test_a_process_that_was_stopped_held_up_nothing(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """All its threads stood still, the detector's as well."""
    loop.hold()
    loop.held.look()
    loop.look(3 * HELD_SECONDS, pace=3 * HELD_SECONDS)
    assert recorded(caplog) == []


def test_a_worker_names_the_job_and_the_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(blocked_loop, "HELD_SECONDS", 0.1)
    app = zerog.App("memory://")
    go = threading.Event()

    def compute() -> None:
        go.wait(60)

    async def run(job: Any) -> Any:
        compute()

    with caplog.at_level(logging.WARNING, "zerog"), Running(app, executor="async", lease=1):
        uuid = add(app, run)
        until(lambda: recorded(caplog))
        go.set()
        assert app.wait(uuid, 20).status == "succeeded"
        until(lambda: len(recorded(caplog)) == 2)
    assert recorded(caplog)[0].startswith(f"job {uuid} blocks the event loop")
    assert "test_blocked_loop.py" in recorded(caplog)[0] and "compute()" in recorded(caplog)[0]
