"""Wait for the end of a job, as ``App.wait`` does: by polling its document."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING

from zerog.engine.engine import Engine
from zerog.jobs.logfields import current_job
from zerog.jobs.submit_options import check_delay
from zerog.records.job import QUEUED, TERMINAL, Document

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob
    from zerog.registry import JobRegistry

log = logging.getLogger("zerog")

NO_SLOT = "%s waits for job %s, which waits for a slot on queue %s since %g s: are all of them taken by waiting jobs?"
WITHOUT_SLOT = 5.0
"""Seconds for which a job may wait for another one that no slot has taken, before that is logged."""

SHORTEST, LONGEST = 0.01, 0.5
"""Seconds between two polls; the pause grows from one to the other."""


def wait_for_end(
    engine: Engine, registry: JobRegistry, uuid: str, timeout: float | None, job_type: type[BaseJob] | str | None
) -> None:
    """Return once a job has ended; a job that calls this can be interrupted meanwhile. Raises as ``App.wait`` does."""
    clock = engine.clock
    deadline = None if timeout is None else clock.monotonic() + check_delay(timeout, "timeout")
    pause, never = SHORTEST, threading.Event()
    warn_at = clock.monotonic() + WITHOUT_SLOT
    while True:
        head: Document = engine.read(uuid)[0]
        registry.expect(uuid, head["jobType"], job_type)
        if head["status"] in TERMINAL:
            return
        if (waiting := current_job.get()) is not None:
            waiting.keep_alive()  # a job that waits for another one can be cancelled, too
            if head["status"] == QUEUED and clock.monotonic() >= warn_at:
                warn_at = math.inf
                log.warning(NO_SLOT, waiting.logId, uuid, head["queueName"], WITHOUT_SLOT)
        left = pause if deadline is None else min(pause, deadline - clock.monotonic())
        if left <= 0:
            raise TimeoutError(f"job {uuid} is still {head['status']} after {timeout} s; it continues")
        clock.wait(never, left)
        pause = min(pause * 1.5, LONGEST)
