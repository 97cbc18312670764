"""Keep the jobs of a test from reaching an app that the test doesn't isolate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from zerog.app import APPS, App
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.urls import open_engine
from zerog.exceptions import ConfigurationError
from zerog.fleet.fleet import Fleet
from zerog.jobs.logfields import current_job


class _OutOfReach:
    """In place of the engine of an app: it raises within a run of a job, and is that engine otherwise."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        job = current_job.get()
        if job is not None:
            raise ConfigurationError(
                f"a run of {job.jobType} used another app than the one that runs it, whose datastore the test doesn't "
                "isolate; nothing was read or written there. In a run use self.app or self.submit."
            )
        return getattr(self._engine, name)


@contextmanager
def only(app: App) -> Iterator[None]:
    """Let jobs that run within the block use ``app`` and apps in memory; every other one raises ConfigurationError."""
    with ExitStack() as stack:
        for other in _others(app):
            guard: Any = _OutOfReach(other.engine)
            stack.enter_context(patch.object(other, "engine", guard))
            stack.enter_context(patch.object(other, "fleet", Fleet(guard)))
        stack.enter_context(patch("zerog.app.open_engine", lambda *parts: _guarded(open_engine(*parts))))
        yield


def _others(app: App) -> list[App]:
    """Return the apps of this process that have another engine."""
    return [each for each in APPS if each.engine is not app.engine and _guarded(each.engine) is not each.engine]


def _guarded(engine: Any) -> Any:
    return engine if isinstance(engine.datastore, MemoryDatastore) else _OutOfReach(engine)
