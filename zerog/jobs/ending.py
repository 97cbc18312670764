"""The follower of a class with ``on_end``: a job that calls it, with tries of its own."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, fields

from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = timedelta(days=1)
"""Time for which followers that succeeded are kept."""


class Follower(BaseJob):
    """Base class of the jobs that the engine submits at the end of another one, which is their ``parent``."""

    RETAIN = KEPT


class Ending(Follower):
    """Base class of the followers that call ``on_end``."""

    class Params(Schema):
        ended = fields.String(required=True)

    ended: str

    def run(self) -> Any:
        """Call ``on_end`` of the job that has ended."""
        assert self.parent is not None
        on_end: Callable[[str], Any] = self.app.get_job(self.parent).on_end
        return on_end(self.ended)


@cache
def ending_of(job_class: type[BaseJob]) -> type[BaseJob] | None:
    """Return the follower's class of a job class; None if that has no ``on_end`` of its own."""
    follower = declaration_of(job_class).follower
    if follower is None:
        return None
    attributes = {"JOB_TYPE": follower, "QUEUE": job_class.QUEUE, "BACKOFF": job_class.BACKOFF}
    return type(f"{job_class.__name__}Ending", (Ending,), {**attributes, "__module__": job_class.__module__})
