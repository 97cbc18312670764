"""The stored document of a schedule, and what a tick, an operator or a deploy changes in it. No clock, no store.

A tick is decided by one write: ``noted`` moves to it, and it is added to ``waiting`` or counted as skipped. Its job is
created after that, under a uuid that follows from name and tick, and then taken off ``waiting`` by another write. A
crash in between leaves a tick that waits, whose job the next leader creates, or finds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from zerog.exceptions import CorruptDocument, SchemaTooNew
from zerog.records.fields import is_count, is_timestamp
from zerog.records.operations import Document
from zerog.schedules.definition import CANCEL, ONE, QUEUE, Definition, from_json
from zerog.schedules.timing import moment_of
from zerog.support.clock import to_text
from zerog.support.jsonvalues import short_repr

DOCUMENT_TYPE = "zerog_schedule"
FORMAT = 1
"""Layout of the document. One with a higher ``format`` is left alone."""

MOST_WAITING = 100
"""Ticks that wait for the end of the previous job; further ones are skipped."""

EVENTS = 20
"""Changes that a schedule remembers."""

_OBJECTS = ("code", "paused", "removed", "template", "lastSkipped")

AHEAD = timedelta(days=1)
"""A noted tick that is further ahead was noted by a wrong clock."""


class Author(NamedTuple):
    """Who changes a schedule: an operator, or a worker's build."""

    name: str
    build: str | None = None
    is_code: bool = False


@dataclass(frozen=True)
class Schedule:
    """A schedule as it was read; ``fields`` is its document."""

    name: str
    fields: Document
    token: int
    definition: Definition

    @property
    def is_active(self) -> bool:
        """True if it has ticks: it is neither paused nor removed."""
        return self.fields.get("paused") is None and self.fields.get("removed") is None

    @property
    def noted(self) -> datetime:
        """The moment up to which all ticks are decided."""
        return moment_of(self.fields["noted"])

    @property
    def waiting(self) -> list[str]:
        """Ticks whose jobs are still to be created, oldest first."""
        return list(self.fields["waiting"])


def read(name: str, fields: Document, token: int) -> Schedule:
    """Return a stored schedule. Raises CorruptDocument, and SchemaTooNew for one that newer code has written."""
    layout = fields.get("format")
    if type(layout) is int and layout > FORMAT:
        raise SchemaTooNew(f"schedule {name} has format {layout}; this ZeroG knows up to {FORMAT}. It was left alone.")
    waiting = fields.get("waiting")
    fits = {
        "documentType": fields.get("documentType") == DOCUMENT_TYPE,
        "noted": is_timestamp(fields.get("noted")),
        "waiting": type(waiting) is list and all(map(is_timestamp, waiting)),
        "lastJob": fields.get("lastJob") is None or type(fields["lastJob"]) is str,
        "lastTick": fields.get("lastTick") is None or is_timestamp(fields["lastTick"]),
        "events": type(fields.get("events")) is list and all(type(each) is dict for each in fields["events"]),
        **{each: is_count(fields.get(each)) for each in ("submitted", "skipped")},
        **{each: type(fields.get(each)) in (dict, type(None)) for each in _OBJECTS},
    }
    for field, is_right in fits.items():
        if not is_right:
            raise CorruptDocument(f"schedule {name} can't be read: its {field} is {short_repr(fields.get(field))}")
    try:
        return Schedule(name, fields, token, from_json(fields.get("definition")))
    except CorruptDocument as error:
        raise CorruptDocument(f"schedule {name} can't be read: {error}") from None


def tick_uuid(name: str, tick: str) -> str:
    """Return the uuid of a tick's job, of version 8: the tick's milliseconds, then a hash of name and tick."""
    milliseconds = int(moment_of(tick).timestamp() * 1000)
    digest = int.from_bytes(hashlib.sha256(f"{name}\n{tick}".encode()).digest())
    low = digest & (2**62 - 1)
    number = (milliseconds & (2**48 - 1)) << 80 | 0x8 << 76 | (digest >> 62 & 0xFFF) << 64 | 0x2 << 62 | low
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# ticks


def decided(schedule: Schedule, now: datetime, is_previous_active: bool) -> Document | None:
    """Return the document with all due ticks decided, None if none is due. Raises what ``Timing.due`` raises."""
    if not schedule.is_active:
        return None
    on_time, missed = schedule.definition.timing.due(schedule.noted, now)
    fields = {**schedule.fields, "waiting": schedule.waiting}
    if missed is not None and not on_time and schedule.definition.catch_up == ONE:
        on_time = [missed]
    elif missed is not None:
        _skip(fields, to_text(missed), "missed while no worker lived")
    if not on_time and missed is None:
        return None
    for tick in map(to_text, on_time):
        _decide(fields, tick, schedule.definition.overlap, is_previous_active)
    fields["noted"] = to_text(on_time[-1] if on_time else missed or now)
    return fields


def _decide(fields: Document, tick: str, overlap: str, is_previous_active: bool) -> None:
    waiting: list[str] = fields["waiting"]
    if overlap == CANCEL:
        for replaced in waiting:
            _skip(fields, replaced, f"the tick of {tick} came before its job could be submitted")
        fields["waiting"] = [tick]
    elif len(waiting) < MOST_WAITING if overlap == QUEUE else not (waiting or is_previous_active):
        waiting.append(tick)
    else:
        why = f"{len(waiting)} ticks wait already" if overlap == QUEUE else "the previous job had not ended"
        _skip(fields, tick, why)


def _skip(fields: Document, tick: str, why: str) -> None:
    fields["skipped"] += 1
    fields["lastSkipped"] = {"tick": tick, "why": why}


def submitted(schedule: Schedule, uuid: str) -> Document:
    """Return the document after the job of the tick that waited first was created."""
    tick, *rest = schedule.waiting
    count = schedule.fields["submitted"] + 1
    return {**schedule.fields, "waiting": rest, "lastTick": tick, "lastJob": uuid, "submitted": count}


# changes


def made(definition: Definition, template: Document | None, now: datetime, by: Author) -> Document:
    """Return the document of a new schedule: its first tick is the next one."""
    fields: Document = {
        "documentType": DOCUMENT_TYPE,
        "format": FORMAT,
        "createdAt": to_text(now),
        "noted": to_text(now),
        "waiting": [],
        "lastTick": None,
        "lastJob": None,
        "lastSkipped": None,
        "submitted": 0,
        "skipped": 0,
        "paused": None,
        "removed": None,
        "code": None,
        "events": [],
    }
    return _given(fields, definition, template, now, by, "added")


def changed(
    schedule: Schedule, definition: Definition, template: Document | None, now: datetime, by: Author
) -> Document:
    """Return the document with a new definition, as an operator or the code gives it.

    What an operator has changed or removed stays so: of the code's definition only a copy is kept then.
    """
    fields = schedule.fields
    if fields["removed"] is not None and not by.is_code:
        revived = {**fields, "removed": None, "waiting": [], "noted": _from(schedule, now)}
        return _given(revived, definition, template, now, by, "added again")
    is_moved = schedule.definition.timing != definition.timing
    if not (by.is_code and (fields.get("byHand") or fields["removed"])):
        moved = {"noted": _from(schedule, now)} if is_moved else {}
        return _given({**fields, **moved}, definition, template, now, by, "changed")
    return _noted_code(fields, definition, template, now, by, "changed in code; what was changed by hand stays")


def _given(
    fields: Document, definition: Definition, template: Document | None, now: datetime, by: Author, what: str
) -> Document:
    given = {**fields, "definition": definition.to_json(), "template": template, "byHand": not by.is_code}
    if by.is_code:
        return _noted_code(given, definition, template, now, by, what)
    return _with_event(given, now, by, what)


def _noted_code(
    fields: Document, definition: Definition, template: Document | None, now: datetime, by: Author, what: str
) -> Document:
    code = {"digest": definition.digest, "definition": definition.to_json(), "build": by.build, "at": to_text(now)}
    return _with_event({**fields, "code": code}, now, by, what)


def paused(schedule: Schedule, now: datetime, by: str, reason: str) -> Document:
    """Return the document of the schedule without ticks until it is resumed."""
    entry = {"since": to_text(now), "by": by, "reason": reason}
    return _with_event({**schedule.fields, "paused": entry}, now, Author(by), "paused")


def resumed(schedule: Schedule, now: datetime, by: str) -> Document:
    """Return the document of the schedule with ticks from now on: those missed meanwhile are not made up for."""
    fields = {**schedule.fields, "paused": None, "noted": _from(schedule, now)}
    return _with_event(fields, now, Author(by), "resumed")


def noted_run(schedule: Schedule, now: datetime, by: str, uuid: str) -> Document:
    """Return the document with an event of a job that an operator submitted."""
    return _with_event(schedule.fields, now, Author(by), f"run by hand as job {uuid}")


def removed(schedule: Schedule, now: datetime, by: str) -> Document:
    """Return the tombstone: the code's definition doesn't bring the schedule back."""
    fields = {**schedule.fields, "removed": {"at": to_text(now), "by": by}, "waiting": [], "paused": None}
    return _with_event(fields, now, Author(by), "removed")


def _from(schedule: Schedule, now: datetime) -> str:
    """Return the moment from which ticks are decided anew: never a decided tick again, unless a clock was wrong."""
    noted = schedule.noted
    return to_text(now if noted > now + AHEAD else max(noted, now))


def _with_event(fields: Document, now: datetime, by: Author, what: str) -> Document:
    event: dict[str, Any] = {"at": to_text(now), "by": by.name, "what": what}
    if by.build:
        event["build"] = by.build
    return {**fields, "events": [*fields["events"], event][-EVENTS:]}
