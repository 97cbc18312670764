"""Jobs made of one function, and a run that was claimed and has not begun."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import zerog
from tests.processes import stretched
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.run import Run
from zerog.engine.transitions import WorkerIdentity
from zerog.jobs.load import after_claim
from zerog.testing.inline import run_inline
from zerog.worker.execute import run_loaded
from zerog.worker.outcome import Outcome
from zerog.worker.session import WorkerStats

Body = Callable[[Any], Any]

ASYNC = ("async", "thread")
"""Executors for an ``async def run``: as a task of the worker's loop, and on a separate loop."""


def job_of(body: Body, store: Any = None, **attributes: Any) -> Any:
    """An unsaved job whose run() is ``body``."""
    made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": body, **attributes})
    return made(store or MemoryDatastore(), MemoryQueue())


def finished(body: Body, **attributes: Any) -> Any:
    """The job, run to its end."""
    return run_inline(job_of(body, **attributes))


def app_with(run: Callable[..., Any], **attributes: Any) -> tuple[zerog.App, str]:
    app = zerog.App(datastore=MemoryDatastore(), queue=MemoryQueue())
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, "MAX_ERRORS": 1, **attributes}))
    return app, app.submit("made").uuid


def work(app: zerog.App, executor: str, **options: Any) -> WorkerStats:
    return zerog.Worker(app, executor=executor, **options).run(burst=True)


class Started:
    """A job that was claimed and is about to run, as a worker has it."""

    def __init__(self, body: Body, store: Any = None, clock: Any = None, **attributes: Any) -> None:
        self.app = zerog.App(datastore=store or MemoryDatastore(), queue=MemoryQueue())
        made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": body, **attributes})
        self.app.register(made)
        self.uuid = self.app.submit("made").uuid
        [self.claim] = self.app.engine.claim(1, WorkerIdentity("w", 30.0), self.app.registry.load_head)
        self.stopping = threading.Event()
        extra = {"clock": clock} if clock else {}
        self.run = Run(
            self.app.engine.datastore, self.claim.key, self.claim.run, stopping=self.stopping, patience=0.5, **extra
        )

    def go(self) -> Outcome:
        job_class, loaded = self.claim.job
        return run_loaded(self.app, job_class, after_claim(loaded, self.claim.head), self.claim.token, self.run)

    def settle(self, outcome: Outcome) -> Any:
        crossed = Outcome.from_json(json.loads(json.dumps(outcome.to_json(), allow_nan=False)))
        assert crossed == outcome
        assert self.app.engine.settle([crossed.settlement(self.claim)]) == [True]
        return self.app.get_job(self.uuid)


def raising(error: BaseException) -> Body:
    def run(self: Any) -> Any:
        raise error

    return run


def short_lease() -> float:
    """A lease that ends soon, and not while a worker that is cut off waits for its turn on a busy machine."""
    return min(stretched(0.6), 5.0)


class Running:
    """A worker in a thread. Use as ``with``."""

    def __init__(self, app: zerog.App, **options: Any) -> None:
        self.worker = zerog.Worker(app, **options)
        self.stats: WorkerStats | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.stats = self.worker.run()

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.worker.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


class Broken(BaseException):
    """The exception that breaks a worker; it would survive an ``Exception``."""


def break_down(app: zerog.App) -> None:
    """Kill the fetcher's thread of every worker of this app."""

    def step(*_arguments: Any, **_more: Any) -> Any:
        raise Broken("made up")

    app.engine.step = step  # type: ignore[method-assign]


def generator(job: Any) -> Iterator[None]:
    yield


async def async_generator(job: Any) -> AsyncIterator[None]:
    yield
