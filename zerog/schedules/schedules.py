"""What programs and operators do with schedules, as ``app.schedules``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, DatastoreError, InvalidValue, ScheduleNotFound, UnknownJobType
from zerog.records.job import Document, is_uuid, make_key
from zerog.schedules import record
from zerog.schedules.definition import Definition, check_schedule_name
from zerog.schedules.leader import ScheduleLeader, Submit, submit_unseen, unseen_document
from zerog.schedules.record import Author, Schedule
from zerog.schedules.store import ScheduleRecords
from zerog.support.clock import to_text

if TYPE_CHECKING:
    from zerog.registry import JobRegistry

log = logging.getLogger("zerog")

LONGEST_TEXT = 500
"""Characters of a reason."""

NEXT = 5
"""Next runs that are shown."""

ACTIVE, PAUSED, REMOVED, DAMAGED = "active", "paused", "removed", "damaged"


@dataclass(frozen=True)
class Calls:
    """What the app does for its schedules."""

    submit_tick: Submit
    submit_now: Callable[[Definition, str], str]
    """Submits a job of the definition, for a schedule by its name, now; returns its uuid. Raises UnknownJobType."""
    template_of: Callable[[Definition], Document | None]
    """Returns the fields of a new job, None if its class isn't registered here. Raises ValidationError."""


class Schedules:
    """The schedules of one app. Every method raises the errors of the datastore."""

    def __init__(self, engine: Engine, registry: JobRegistry, calls: Calls) -> None:
        self._engine = engine
        self._registry = registry
        self._calls = calls
        self._records = ScheduleRecords(engine)
        self.declared: dict[str, Definition] = {}
        """The schedules that this program declares, by name."""

    # code

    def declare(self, name: str, definition: Definition) -> None:
        """Note a schedule of this program, which workers store when they start. Raises ConfigurationError."""
        if self.declared.setdefault(name, definition) != definition:
            raise ConfigurationError(
                f"a schedule {name!r} is declared already, and another one; give each its own name. It was not stored."
            )

    def digests(self) -> dict[str, str]:
        """Return a text for each declared schedule that is the same where its definition is."""
        return {name: definition.digest for name, definition in sorted(self.declared.items())}

    def publish(self, worker: str, build: str | None) -> None:
        """Store the declared schedules that differ from what the code has last been known to declare.

        One that can't be stored is logged and keeps its former definition. Raises the datastore's errors.
        """
        by = Author(worker, build, is_code=True)
        for name, definition in self.declared.items():
            try:
                self._publish(name, definition, by)
            except DatastoreError:
                raise
            except Exception:
                log.exception("schedule %s of this program can't be stored; what was stored before holds", name)

    def _publish(self, name: str, definition: Definition, by: Author) -> None:
        template = self._calls.template_of(definition)
        version = (template or {}).get("schemaVersion")

        def change(before: Schedule | None) -> Document | None:
            now = self._engine.now()
            if before is None:
                return record.made(definition, template, now, by)
            if (before.fields["code"] or {}).get("digest") != definition.digest:
                return record.changed(before, definition, template, now, by)
            is_own = not before.fields["byHand"] and before.fields["removed"] is None
            is_older = (before.fields["template"] or {}).get("schemaVersion") != version
            return {**before.fields, "template": template} if is_older and is_own else None

        self._records.change(name, change, mend=True)

    def leader(self) -> ScheduleLeader:
        """Return what a leading worker calls to decide and submit ticks."""
        return ScheduleLeader(self._engine, self._calls.submit_tick)

    # operators

    def all(self, removed: bool = False) -> list[dict[str, Any]]:
        """Return all schedules by name, as ``get`` does; with ``removed`` also the removed ones."""
        found, wrong = self._records.read_all()
        shown = [self._shown(schedule) for schedule in found if removed or schedule.fields["removed"] is None]
        shown += [{"name": name, "state": DAMAGED, "problem": why} for name, why in wrong.items()]
        return sorted(shown, key=lambda each: str(each["name"]))

    def get(self, name: str) -> dict[str, Any]:
        """Return a schedule as JSON values, removed ones too.

        ``state`` (``active``, ``paused``, ``removed``), its definition, ``words`` (its times in English), ``next``
        (the next five), ``lastTick``, ``lastJob`` and ``lastStatus`` (of the latest job), ``waiting`` (ticks that wait
        for its end), ``submitted`` and ``skipped`` (counts), ``lastSkipped``, ``byHand`` (whether an operator gave the
        definition), ``code`` (what the code declares, if that differs), ``events`` and ``problem`` (None, or why it has
        no times here). Secret parameters are hidden. Raises ScheduleNotFound, CorruptDocument.
        """
        return self._shown(self._found(name, with_removed=True))

    def add(self, name: str, definition: Definition, by: str = "") -> dict[str, Any]:
        """Store a schedule by hand: a new one, or in place of what the code or an operator gave; return as ``get``."""
        template = self._calls.template_of(definition)
        check_schedule_name(name)

        def change(before: Schedule | None) -> Document:
            now, author = self._engine.now(), Author(by)
            if before is None:
                return record.made(definition, template, now, author)
            return record.changed(before, definition, template, now, author)

        stored = self._records.change(name, change, mend=True)
        assert stored is not None
        return self._shown(stored)

    def restore(self, name: str, by: str = "") -> dict[str, Any]:
        """Store a schedule as this program declares it, in place of what was changed or removed by hand.

        Raises ScheduleNotFound if the program declares no such schedule.
        """
        definition = self.declared.get(name)
        if definition is None:
            known = ", ".join(sorted(self.declared)) or "none"
            raise ScheduleNotFound(
                f"this program declares no schedule {name!r:.120}; declared: {known}. Nothing was stored."
            )
        self.add(name, definition, by)

        def own(before: Schedule | None) -> Document | None:
            if before is None:
                return None
            code = {"digest": definition.digest, "definition": definition.to_json(), "build": None}
            return {**before.fields, "byHand": False, "code": {**code, "at": to_text(self._engine.now())}}

        stored = self._records.change(name, own)
        assert stored is not None
        return self._shown(stored)

    def pause(self, name: str, reason: str = "", by: str = "") -> bool:
        """Let a schedule have no ticks until it is resumed; False, and a no-op, if it is paused already.

        Jobs that were submitted run on. Raises ScheduleNotFound, InvalidValue.
        """
        if type(reason) is not str or len(reason) > LONGEST_TEXT:
            raise InvalidValue(f"reason={reason!r:.80}; expected text of up to {LONGEST_TEXT} characters")
        return self._change(name, lambda s: record.paused(s, self._engine.now(), by, reason), "paused", is_set=False)

    def resume(self, name: str, by: str = "") -> bool:
        """Let a paused schedule have ticks again, the next one first; False if it wasn't paused.

        Those missed meanwhile are not made up for. Raises ScheduleNotFound.
        """
        return self._change(name, lambda s: record.resumed(s, self._engine.now(), by), "paused", is_set=True)

    def remove(self, name: str, by: str = "") -> None:
        """Remove a schedule; the code's definition doesn't bring it back, ``add`` does. Raises ScheduleNotFound."""
        self._change(name, lambda s: record.removed(s, self._engine.now(), by), "removed", is_set=False)

    def run(self, name: str, by: str = "") -> str:
        """Submit a job of a schedule now, whatever its times and its overlap rule; return its uuid.

        Raises ScheduleNotFound, UnknownJobType, ValidationError.
        """
        schedule = self._found(name)
        try:
            uuid = self._calls.submit_now(schedule.definition, name)
        except UnknownJobType:
            if not schedule.fields["template"]:
                raise
            document = unseen_document(schedule, to_text(self._engine.clock.now()))
            document["headers"] = {"schedule": name}
            uuid = submit_unseen(self._engine, document)
        self._records.change(name, lambda s: None if s is None else record.noted_run(s, self._engine.now(), by, uuid))
        return uuid

    # shown

    def _change(self, name: str, make: Callable[[Schedule], Document], field: str, is_set: bool) -> bool:
        """Store what ``make`` makes if a field is set, or is None; False if it isn't so."""
        is_changed = False

        def change(schedule: Schedule | None) -> Document | None:
            nonlocal is_changed
            if schedule is None or schedule.fields["removed"] is not None:
                raise self._unknown(name)
            is_changed = (schedule.fields[field] is not None) == is_set
            return make(schedule) if is_changed else None

        self._records.change(check_schedule_name(name), change)
        return is_changed

    def _found(self, name: str, with_removed: bool = False) -> Schedule:
        schedule = self._records.read(check_schedule_name(name))
        if schedule is None or (schedule.fields["removed"] is not None and not with_removed):
            raise self._unknown(name)
        return schedule

    def _unknown(self, name: str) -> Exception:
        if name in self.declared and self._records.read(name) is None:
            return ScheduleNotFound(
                f"schedule {name!r} is declared in code and not stored yet; a worker does so when it starts, or add."
            )
        found, _ = self._records.read_all()
        return self._records.not_found(name, (each.name for each in found if each.fields["removed"] is None))

    def _shown(self, schedule: Schedule) -> dict[str, Any]:
        fields, now = schedule.fields, self._engine.now()
        words, following, problem = self._times(schedule, now)
        code = fields["code"]
        is_same = code is None or code.get("definition") == fields["definition"]
        state = REMOVED if fields["removed"] is not None else PAUSED if fields["paused"] is not None else ACTIVE
        plain = ("paused", "removed", "noted", "waiting", "lastTick", "lastJob", "lastSkipped", "submitted", "skipped")
        return {
            "name": schedule.name,
            "state": state,
            **self._masked(fields["definition"]),
            "words": words,
            "next": following,
            **{field: fields.get(field) for field in plain},
            "lastStatus": self._status(fields["lastJob"]),
            "byHand": bool(fields.get("byHand")),
            "code": None if is_same else {**code, "definition": self._masked(code.get("definition") or {})},
            "build": (code or {}).get("build"),
            "createdAt": fields.get("createdAt"),
            "events": fields["events"],
            "problem": problem,
        }

    def _times(self, schedule: Schedule, now: datetime) -> tuple[str | None, list[str], str | None]:
        timing = schedule.definition.timing
        try:
            following = timing.next_ticks(max(schedule.noted, now), NEXT) if schedule.is_active else []
            return timing.words(), [to_text(tick) for tick in following], None
        except (ConfigurationError, InvalidValue) as error:
            return None, [], str(error)

    def _masked(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        params = definition.get("params") or {}
        shown = self._registry.shown({**params, "jobType": definition.get("jobType")})
        return {**definition, "params": {name: shown[name] for name in params if name in shown}}

    def _status(self, uuid: object) -> str | None:
        if not is_uuid(uuid):
            return None
        key = make_key(str(uuid))
        status = self._engine.datastore.read_heads([key])[0].get(key, {}).get("status")
        return status if isinstance(status, str) else None
