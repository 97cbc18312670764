"""The leader's part: decide due ticks, and create their jobs.

Two leaders at once make no second job: a tick is decided by a compare-and-swap on the schedule, and its job is created
under a uuid that follows from name and tick.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress

from zerog.engine.cas import refusals_of
from zerog.engine.engine import Engine
from zerog.exceptions import (
    AmbiguousWrite,
    CasMismatch,
    ConfigurationError,
    DatastoreUnavailable,
    JobNotFound,
    JobStateError,
    UnknownJobType,
    ZerogError,
)
from zerog.records.job import TERMINAL, Document, is_uuid, make_key, new_document
from zerog.records.unique import lock_in
from zerog.schedules.definition import CANCEL, Definition
from zerog.schedules.record import Schedule, decided, submitted, tick_uuid
from zerog.schedules.store import ScheduleRecords
from zerog.support.clock import text_after, to_text

log = logging.getLogger("zerog")

STALE = 15.0
"""Seconds after which what was read of a schedule is too old to create a job by."""

LOOK = 1.0
"""Seconds between two looks at a job for whose end a tick waits."""

Submit = Callable[[Definition, str, str, str], str]
"""Submits the job of a definition for the tick of a schedule, under a uuid; returns the uuid of the job.

Raises UnknownJobType if its class isn't registered here.
"""


class ScheduleLeader:
    """Takes turns over all schedules of one engine."""

    def __init__(self, engine: Engine, submit: Submit) -> None:
        self._engine = engine
        self._records = ScheduleRecords(engine)
        self._submit = submit
        self._refusals: tuple[type[Exception], ...] = (*refusals_of(engine.datastore), AmbiguousWrite)
        self._logged: dict[str, str] = {}

    def turn(self) -> float:
        """Decide and submit what is due; return the seconds until something is due again, infinity for never.

        What is wrong with one schedule is logged once and keeps no other from its ticks. Raises the datastore's errors
        if it is unreachable.
        """
        schedules, wrong = self._records.read_all()
        for name, why in wrong.items():
            self._log(name, why)
        return min((self._step(schedule) for schedule in schedules if schedule.is_active), default=math.inf)

    def _step(self, schedule: Schedule) -> float:
        name = schedule.name
        try:
            seconds = self._work(schedule)
            self._logged.pop(name, None)
            return seconds
        except self._refusals as error:
            log.debug("schedule %s was changed meanwhile, and is read again: %s", name, error)
            return LOOK
        except DatastoreUnavailable:
            raise
        except Exception as error:
            self._log(name, f"schedule {name} can't be worked on here: {type(error).__name__}: {error}")
            return math.inf  # the next sweep tries again

    def _work(self, schedule: Schedule) -> float:
        read_at = self._engine.clock.monotonic()
        schedule = self._flush(schedule, read_at)
        now = self._engine.now()
        fields = decided(schedule, now, self._is_active(schedule.fields["lastJob"]))
        if fields is not None:
            schedule = self._flush(self._records.put(schedule, fields), read_at)
        if schedule.waiting:
            return LOOK
        following = schedule.definition.timing.next_ticks(max(schedule.noted, now), 1)
        return (following[0] - self._engine.now()).total_seconds() if following else math.inf

    def _flush(self, schedule: Schedule, read_at: float) -> Schedule:
        """Create the jobs of the ticks that wait, oldest first, each once the previous job has ended."""
        while schedule.waiting:
            previous = schedule.fields["lastJob"]
            if self._is_active(previous):
                if schedule.definition.overlap == CANCEL:
                    with suppress(JobNotFound, JobStateError):
                        self._engine.cancel(previous)
                if self._is_active(previous):
                    return schedule
            if self._engine.clock.monotonic() - read_at > STALE:
                raise CasMismatch(f"schedule {schedule.name} was read too long ago")
            uuid = self._create(schedule, schedule.waiting[0])
            schedule = self._records.put(schedule, submitted(schedule, uuid))
        return schedule

    def _is_active(self, uuid: str | None) -> bool:
        """Return True if a job is stored and hasn't ended."""
        if not is_uuid(uuid):
            return False
        key = make_key(str(uuid))
        head = self._engine.datastore.read_heads([key])[0].get(key)
        return head is not None and head.get("status") not in TERMINAL

    def _create(self, schedule: Schedule, tick: str) -> str:
        """Create a tick's job unless it is there already; return its uuid."""
        uuid = tick_uuid(schedule.name, tick)
        if self._exists(uuid):
            return uuid  # of a leader that came no further
        try:
            return self._submit(schedule.definition, uuid, schedule.name, tick)
        except UnknownJobType as error:
            return self._create_unseen(schedule, tick, uuid, error)
        except (CasMismatch, self._engine.datastore.casException):
            if not self._exists(uuid):
                raise
        return uuid

    def _exists(self, uuid: str) -> bool:
        return self._engine.datastore.read_with_cas(make_key(uuid), head=True)[0] is not None

    def _create_unseen(self, schedule: Schedule, tick: str, uuid: str, error: ZerogError) -> str:
        """Create a tick's job of a class that isn't registered here, as the process made it that had the class.

        Returns the uuid of the job, that of another one if that has its key.
        """
        template = schedule.fields.get("template")
        if not template:
            raise ConfigurationError(f"{error} The tick of {tick} waits for a leader that has the class.") from error
        document = unseen_document(schedule, to_text(self._engine.clock.now()), uuid)
        document |= {"headers": tick_headers(schedule.name, tick), **tick_fields(schedule.name, tick)}
        with suppress(CasMismatch, self._engine.datastore.casException):
            return submit_unseen(self._engine, document)
        return uuid

    def _log(self, name: str, text: str) -> None:
        if self._logged.get(name) != text:
            self._logged[name] = text
            log.error("%s", text)


def unseen_document(schedule: Schedule, now: str, uuid: str | None = None) -> Document:
    """Return the document of a new job whose class isn't registered here, by the schedule's template."""
    template = dict(schedule.fields["template"])
    seconds = template.pop("uniqueFor", None)
    document = {**new_document(schedule.definition.job_type, template["schemaVersion"], now, uuid), **template}
    if seconds is not None:
        document["uniqueLock"] = {**document["uniqueLock"], "until": text_after(now, seconds)}
    return document


def submit_unseen(engine: Engine, document: Document) -> str:
    """Submit a new job without its class; return its uuid, or that of the job that has its key."""
    if lock_in(document) is None:
        return str(engine.submit([document], 0)[0][0]["uuid"])
    return str(engine.submit_unique([document])[0].document["uuid"])


def tick_fields(name: str, tick: str) -> dict[str, object]:
    """Return the engine's field of a job that a schedule submits."""
    return {"scheduledBy": {"name": name, "tick": tick}}


def tick_headers(name: str, tick: str) -> dict[str, str]:
    """Return the headers of a job that a schedule submits, for its class and for submit middleware."""
    return {"schedule": name, "tick": tick}
