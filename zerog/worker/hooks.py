"""The hooks around ``run()``: the app's middleware outermost, then ``on_error``, then ``before_run`` and ``after_run``.

All of it is the run: what a hook raises counts as if ``run()`` had raised it. There are two forms of the same order,
one for plain code and one for a run in which anything is asynchronous, which as a whole is one coroutine of one loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from zerog.exceptions import Cancelled, ClaimLost, Paused
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.jobs.signals import SIGNALS
from zerog.middleware import managers_of, within
from zerog.support import jsonvalues

HOOKS = ("before_run", "after_run", "on_error")


def called(job: BaseJob) -> Any:
    """Run the job with its hooks and return what it returned. For a thread in which no event loop runs."""
    if _is_bare(job):
        return _result(job, job.run())
    managers = _managers(job)
    if _needs_loop(job, managers):
        return _run_coroutine(job, _within_async(job, managers))
    with within(managers):
        return _hooked(job)


async def awaited(job: BaseJob) -> Any:
    """Run the job with its hooks and return what it returned. For a task of an event loop."""
    if _is_bare(job):
        return await job.run()
    return await _within_async(job, _managers(job))


def leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions that a group is made of, however deep; any other exception alone."""
    found, groups = [], [error]
    while groups:
        part = groups.pop()
        if isinstance(part, BaseExceptionGroup):
            groups.extend(reversed(part.exceptions))
        else:
            found.append(part)
    return found


def _is_bare(job: BaseJob) -> bool:
    """Return True if there is nothing but ``run()``, as for most jobs; written for speed, as every run calls it."""
    job_class = type(job)
    return (
        not job._middleware
        and job_class.before_run is BaseJob.before_run
        and job_class.after_run is BaseJob.after_run
        and job_class.on_error is BaseJob.on_error
    )


def _managers(job: BaseJob) -> list[Any]:
    return managers_of(job._middleware, job)


def _needs_loop(job: BaseJob, managers: list[Any]) -> bool:
    is_async = any(inspect.iscoroutinefunction(getattr(job, name)) for name in ("run", *HOOKS))
    return is_async or any(hasattr(manager, "__aenter__") for manager in managers)


def _is_undecided(job: BaseJob, error: BaseException) -> bool:
    """Return True if ``on_error`` is to decide: this is neither an interruption nor the job's own decision."""
    parts = leaves(error)
    run = document_of(job).run
    if any(isinstance(part, (ClaimLost, Cancelled, Paused)) for part in parts) or (run is not None and run.is_revoked):
        return False
    return len(parts) > 1 or not isinstance(parts[0], SIGNALS)


def _returned(job: BaseJob, value: Any) -> Any:
    """Keep what ``run()`` returned for ``after_run`` and middleware: ``job.returned``."""
    run = document_of(job).run
    assert run is not None
    run.returned = value
    return value


def _nothing(hook: str, value: object) -> None:
    if value is not None:
        raise TypeError(
            f"{hook}() returned {jsonvalues.short_repr(value)}; expected None (it may raise to end the run)"
        )


# plain


def _hooked(job: BaseJob) -> Any:
    try:
        _nothing("before_run", _result(job, job.before_run()))
        try:
            return _returned(job, _result(job, job.run()))
        finally:
            _nothing("after_run", _result(job, job.after_run()))
    except BaseException as error:
        if _is_undecided(job, error):
            _nothing("on_error", _result(job, job.on_error(error)))
        raise


def _result(job: BaseJob, value: Any) -> Any:
    """Return the value, or the result of a coroutine that a decorator has hidden."""
    return _run_coroutine(job, value) if inspect.iscoroutine(value) else value


def _run_coroutine(job: BaseJob, coroutine: Coroutine[Any, Any, Any]) -> Any:
    # asyncio is a third of this package's whole import time, for jobs that most workers don't have.
    from zerog.worker.executors.coroutines import run_alone

    run = document_of(job).run
    assert run is not None
    return run_alone(coroutine, run)


# asynchronous


async def _within_async(job: BaseJob, managers: list[Any]) -> Any:
    async with AsyncExitStack() as stack:
        try:
            for manager in managers:
                if hasattr(manager, "__aenter__"):
                    await stack.enter_async_context(manager)
                else:
                    stack.enter_context(manager)
            return await _hooked_async(job)
        except BaseException as error:
            raised = error
            raise
    raise raised  # as ``within`` does


async def _hooked_async(job: BaseJob) -> Any:
    try:
        _nothing("before_run", await _result_async(job.before_run()))
        try:
            return _returned(job, await _result_async(job.run()))
        finally:
            _nothing("after_run", await _result_async(job.after_run()))
    except BaseException as error:
        if _is_undecided(job, error):
            _nothing("on_error", await _result_async(job.on_error(error)))
        raise


async def _result_async(value: Any) -> Any:
    return await value if inspect.iscoroutine(value) else value
