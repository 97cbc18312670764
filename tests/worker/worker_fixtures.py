"""An app on a file and jobs made of one body, for tests that run them with each executor."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zerog

EXECUTORS = ["thread", "async", "process"]


class Bed:
    """Jobs of one type, run by real workers of one executor."""

    def __init__(self, folder: Path, executor: str = "thread") -> None:
        self.app = zerog.App(f"sqlite:///{folder}/jobs.db")
        self.executor = executor

    def submit(self, body: Any, *bases: type[zerog.BaseJob], **attributes: Any) -> str:
        """Submit a job whose run() is ``body``; return its uuid."""
        if "made" in self.app.registry.get_registered_classes():
            self.app.unregister("made")
        self.app.register(type("Made", bases or (zerog.BaseJob,), {"JOB_TYPE": "made", "run": body, **attributes}))
        return self.app.submit("made").uuid

    def work(self, **options: Any) -> None:
        """Run everything that is ready."""
        zerog.Worker(self.app, executor=self.executor, **options).run(burst=True)

    def run(self, body: Any, *bases: type[zerog.BaseJob], **attributes: Any) -> dict[str, Any]:
        """The progress that a poller sees of a job once everything that is ready has run."""
        uuid = self.submit(body, *bases, **attributes)
        self.work()
        return self.app.info(uuid)


def recorded(info: dict[str, Any]) -> list[str]:
    """The messages of a job's events."""
    return [event["msg"] for event in info["events"]]


def noting(message: str) -> Callable[..., None]:
    """A hook that records an event."""

    def note(self: Any, *_error: Any) -> None:
        self.record_event(message)

    return note


def as_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same as a coroutine function, which lets the loop have a turn first."""

    async def awaited(*arguments: Any) -> Any:
        import asyncio

        await asyncio.sleep(0)
        value = function(*arguments)
        return await value if inspect.isawaitable(value) else value

    return awaited
