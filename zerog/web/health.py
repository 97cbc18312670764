"""Probes: whether this process answers, and whether it can reach the jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from zerog.exceptions import ZerogError
from zerog.records.job import make_key
from zerog.web.answer import Answer
from zerog.web.call import Call
from zerog.web.problems import Problem

log = logging.getLogger("zerog")

NOBODY = "00000000-0000-0000-0000-000000000000"
"""A uuid that no job has."""


def healthz(_call: Call) -> Answer:
    """Answer that this process answers."""
    return Answer({"status": "ok"})


def readyz(call: Call) -> Answer:
    """Answer whether the datastore and the queue can be reached. Raises Problem, which says what can't."""
    looks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("datastore", lambda: call.app.datastore.read_heads([make_key(NOBODY)])),
        ("queue", lambda: call.app.queue.size()),
    )
    for what, look in looks:
        try:
            look()
        except (ZerogError, OSError) as error:
            log.warning("not ready: the %s can't be reached: %s", what, error)
            raise Problem(
                503,
                "NotReady",
                f"The {what} can't be reached; the server's log has the reason.",
                headers={"Retry-After": "5"},
            ) from error
    return Answer({"status": "ready"})
