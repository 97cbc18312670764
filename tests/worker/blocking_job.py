"""A datastore whose writes can be held up, and jobs for a worker with an event loop."""

from __future__ import annotations

import threading
from typing import Any

import zerog
from tests.worker.builders import Body
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.exceptions import DatastoreUnavailable


class Gate(MemoryDatastore):
    """Writes of runs wait while it is closed; with ``off`` everything is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        self.off = False

    def read_with_cas(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return super().read_with_cas(*args, **kwargs)

    def mutate(self, key: str, operations: Any, *args: Any, **kwargs: Any) -> Any:
        self._check()
        if getattr(kwargs.get("run"), "seq", None) is not None and not self.open.is_set():
            self.waiting.set()
            assert self.open.wait(30)
        return super().mutate(key, operations, *args, **kwargs)

    def _check(self) -> None:
        if self.off:
            raise DatastoreUnavailable("switched off; nothing was written")


def add(app: zerog.App, run: Body, job_type: str = "made", **attributes: Any) -> str:
    """Submit a job whose run() is this coroutine function."""
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": job_type, "run": run, **attributes}))
    return app.submit(job_type).uuid


def burst(app: zerog.App, **options: Any) -> Any:
    return zerog.Worker(app, executor="async", **options).run(burst=True)


def document(app: zerog.App, uuid: str) -> dict[str, Any]:
    return dict(app.datastore.read(f"zerog_job_{uuid}"))
