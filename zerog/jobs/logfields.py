"""Log record fields that name the job of the run that a thread or task is in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from zerog.engine.joblog import naming

if TYPE_CHECKING:
    from zerog.jobs.stored import StoredJob

log = logging.getLogger("zerog")

current_job: ContextVar[StoredJob | None] = ContextVar("zerog_current_job", default=None)
"""The job whose run this thread or task is in."""


def fields_of(job: StoredJob) -> dict[str, Any]:
    """Return the fields that name a job, for ``extra=`` of a log call."""
    return naming(job.logId, job.uuid, job.jobType, job.epoch, job.owner)


def warn(values: Mapping[str, Any], text: str) -> None:
    """Log a warning about a job, whose attributes are ``values``."""
    named = naming(values["logId"], values["uuid"], values["jobType"], values["epoch"], values["owner"])
    log.warning("%s %s", values["logId"], text, extra=named)


class JobFields(logging.Filter):
    """Adds the fields that name the job to records that were made within its run, by any logger.

    To be added to a handler: ``handler.addFilter(zerog.jobs.logfields.JobFields())``. ``zerog worker`` does so itself.
    Threads that the job starts are not within its run unless they run in a copy of its context.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = current_job.get()
        if job is not None and not hasattr(record, "logId"):
            record.__dict__.update(fields_of(job))
        return True
