"""The executor of a worker, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zerog.engine.transitions import Claim
from zerog.support.clock import Clock
from zerog.worker.executors.child import child_main
from zerog.worker.executors.forkserver import ForkServer
from zerog.worker.executors.process import JOBS_PER_CHILD, ProcessExecutor
from zerog.worker.executors.thread import Executor, ThreadExecutor
from zerog.worker.outcome import Outcome
from zerog.worker.settings import Settings

if TYPE_CHECKING:
    from zerog.app import App


def fork_server_of(app: App, settings: Settings) -> ForkServer | None:
    """Start the process that forks children, if jobs are to run in child processes. No thread may run yet."""
    if settings.executor != "process":
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
    count, lease = settings.concurrency, settings.lease
    if settings.executor == "async":
        from zerog.worker.executors.async_ import AsyncExecutor  # asyncio is a third of the package's import time

        return AsyncExecutor(app, count, lease, done, clock)
    if fork_server is None:
        return ThreadExecutor(app, count, lease, done, clock)
    max_jobs = settings.max_jobs or JOBS_PER_CHILD
    return ProcessExecutor(app, count, lease, done, clock, fork_server, max_jobs, settings.max_memory)
