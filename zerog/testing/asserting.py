"""Assertions about jobs that the code under test submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerog.app import App
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of
from zerog.jobs.secrets import HIDDEN
from zerog.records.fields import ENGINE_FIELDS

SHOWN = 10
"""Jobs that a failed assertion lists."""


def assert_submitted(
    app: App,
    job_type: str | type[BaseJob],
    params: Mapping[str, Any] | None = None,
    *,
    times: int | None = None,
    queue: str | None = None,
    **fields: Any,
) -> list[BaseJob]:
    """Assert that jobs of this type were submitted, in any state now; return the matching ones, oldest first.

    ``params``: values that each must have, as Python or JSON values (unnamed ones may be any); ``queue`` and
    ``fields`` (``priority=5``, ``status="scheduled"``): the same for the job's other attributes. ``times``: exactly
    how many; by default one or more. Raises AssertionError with the jobs submitted instead or the field that jobs of
    this type don't have, and UnknownJobType.
    """
    __tracebackhide__ = True
    name = job_type.JOB_TYPE if isinstance(job_type, type) else job_type
    wanted = {**(params or {}), **fields}
    _check_names(app, name, wanted)
    jobs = [app.get_job(state["uuid"]) for state in app.jobs(job_type=name, queue=queue)]
    fit = [job for job in jobs if _fits(job, wanted)]
    if len(fit) != times if times is not None else not fit:
        expected = "at least one" if times is None else f"{times}"
        on = f" on queue {queue!r}" if queue is not None else ""
        raise AssertionError(
            f"{len(fit)} jobs of type {name!r} were submitted{on} with {wanted}, expected {expected}. "
            f"Submitted: {_listed(jobs, [*wanted]) or _others(app)}"
        )
    return fit


def assert_not_submitted(
    app: App, job_type: str | type[BaseJob], params: Mapping[str, Any] | None = None, **fields: Any
) -> None:
    """Assert that no such job was submitted; arguments as for ``assert_submitted``."""
    __tracebackhide__ = True
    assert_submitted(app, job_type, params, times=0, **fields)


def _check_names(app: App, job_type: str, wanted: Mapping[str, Any]) -> None:
    """Refuse a field that no job has: every assertion about it would have the same result."""
    __tracebackhide__ = True
    declaration = declaration_of(app.registry.get_class(job_type))
    known = {field.attribute for field in declaration.fields.values()} | ENGINE_FIELDS
    for field in wanted:
        if field not in known and declaration.rest is None:
            raise AssertionError(f"jobs of type {job_type!r} have no field {field!r}{declaration.suggestion(field)}")


def _fits(job: BaseJob, wanted: Mapping[str, Any]) -> bool:
    dumped = job.dump()
    return all(value in _values(job, field, dumped) for field, value in wanted.items())


def _values(job: BaseJob, field: str, dumped: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a field's Python value and its JSON; those of ``**kwargs`` of a function are fields here, too."""
    rest = declaration_of(type(job)).rest
    if rest is None or hasattr(job, field):
        return getattr(job, field), dumped.get(field)
    return getattr(job, rest).get(field, ...), dumped[rest].get(field, ...)


def _listed(jobs: list[BaseJob], names: list[str]) -> str:
    shown = [f"{job.uuid} ({job.status}) { ({name: _shown(job, name) for name in names}) }" for job in jobs[:SHOWN]]
    return "; ".join(shown) + (f"; and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else "")


def _shown(job: BaseJob, name: str) -> Any:
    value, dumped = _values(job, name, job.dump())
    return HIDDEN if dumped == HIDDEN else value


def _others(app: App) -> str:
    types = sorted({state["jobType"] for state in app.jobs()})
    return f"none of this type, but of {', '.join(types)}" if types else "nothing at all"
