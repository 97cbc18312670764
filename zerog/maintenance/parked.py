"""Wake parked jobs for whose limit slots are free: those that the death of a program has left so."""

from __future__ import annotations

import logging

from zerog.contracts.find import OLDEST
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.engine import Engine
from zerog.exceptions import DatastoreError
from zerog.maintenance.sweep import Course, Report
from zerog.records.job import QUEUED
from zerog.records.limits import PARKED_ATTR, Lane, Parked, parked_in

log = logging.getLogger("zerog")


class ParkedJobs:
    """Walks the parked jobs, oldest first, over as many sweeps as it takes, and begins again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._course = Course(status=QUEUED, order=OLDEST, attrs=((PARKED_ATTR, "1"),))

    def sweep(self, report: Report) -> None:
        """Drop what holds slots no more of the limits at which the next jobs are parked, and wake who gets one."""
        if not self._engine.parks:
            return
        at_limit: dict[str, dict[Lane, Parked]] = {}
        for heads in self._course.walk(self._engine, report):
            for parked in filter(None, map(parked_in, heads)):
                at_limit.setdefault(parked.key, {})[parked.lane] = parked
        for lanes in at_limit.values():
            some = list(lanes.values())
            try:
                self._engine.wake_parked(some)
            except (DatastoreError, *LEAVE_ALONE) as error:
                log.warning("the slots of %s are left to the next sweep: %s", some[0].limit, error)
