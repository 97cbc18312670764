"""The executor of a worker, by its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from zerog.engine.transitions import Claim
from zerog.support.clock import Clock
from zerog.worker.executors.child import child_main
from zerog.worker.executors.forkserver import ForkServer
from zerog.worker.executors.process import ProcessExecutor
from zerog.worker.executors.slots import Executor
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.outcome import Outcome
from zerog.worker.settings import Settings

if TYPE_CHECKING:
    from zerog.app import App


def types_for_children(app: App, settings: Settings) -> list[str]:
    """Return the types of job whose TIMEOUT neither a thread nor a task can be made to keep, sorted."""
    is_async = settings.executor == "async"
    found = (
        job_type
        for job_type in app.registry.get_registered_classes()
        for job_class in app.registry.classes_of(job_type)
        if job_class.TIMEOUT is not None and not (is_async and inspect.iscoroutinefunction(job_class.run))
    )
    return sorted(set(found))


def fork_server_of(app: App, settings: Settings, owns_process: bool) -> ForkServer | None:
    """Start the process that forks children, if some jobs may run in child processes. No thread may run yet.

    ``owns_process``: whether nothing but the worker uses this process, so that it may fork for jobs to come that have a
    limit of their own.
    """
    if settings.debug:
        return None
    is_wanted = owns_process or types_for_children(app, settings)
    if settings.executor != "process" and not (is_wanted and app.datastore.shared and app.datastore.forkable):
        return None
    app.engine.close()  # no connection of this process may live on in a child
    return ForkServer(child_main(app))


def executor_of(
    app: App,
    settings: Settings,
    fork_server: ForkServer | None,
    done: Callable[[Claim, Outcome | None, float], None],
    clock: Clock,
) -> Executor:
    """Return the executor, which calls ``done`` with the end of each run; not started yet."""
    limits = settings.max_jobs_per_child, settings.max_memory
    common = app, settings.concurrency, settings.lease, done, clock, fork_server, *limits
    if settings.debug:
        from zerog.worker.executors.debug import DebugExecutor  # with a debugger's modules

        return DebugExecutor(*common)
    if settings.executor == "process":
        return ProcessExecutor(*common)
    if settings.executor == "async":
        from zerog.worker.executors.async_ import AsyncExecutor  # asyncio is a third of the package's import time

        return AsyncExecutor(*common)
    return ThreadExecutor(*common)
