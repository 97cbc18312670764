"""The documents of schedules: read them, change them by compare-and-swap; and the directory of their names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument, ScheduleNotFound, SchemaTooNew
from zerog.records.fields import is_name
from zerog.records.job import Document
from zerog.records.keys import SCHEDULES, schedule_key
from zerog.records.worker import read_record
from zerog.schedules.record import Schedule, read
from zerog.support.suggestions import close_to

log = logging.getLogger("zerog")

Change = Callable[[Schedule | None], Document | None]
"""Makes of a schedule as it is stored, None if there is none, the document to store; None if nothing is to be."""


class ScheduleRecords:
    """The schedules in the datastore of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._datastore = engine.datastore
        self._clock = engine.clock

    def names(self) -> list[str]:
        """Return the names of all schedules, removed ones too; some may have no document."""
        fields = read_record(self._datastore, SCHEDULES).fields or {}
        stored = fields.get("schedules")
        return sorted(name for name in stored if is_name(name)) if isinstance(stored, dict) else []

    def read(self, name: str) -> Schedule | None:
        """Return a schedule; None if there is none. Raises CorruptDocument, SchemaTooNew."""
        fields, token = self._datastore.read_with_cas(schedule_key(name))
        return None if fields is None or token is None else read(name, fields, token)

    def read_all(self) -> tuple[list[Schedule], dict[str, str]]:
        """Return all schedules by name, and for those that this code can't use the reasons."""
        found, wrong = [], {}
        for name in self.names():
            try:
                schedule = self.read(name)
            except (CorruptDocument, SchemaTooNew) as error:
                wrong[name] = str(error)
                continue
            if schedule is not None:
                found.append(schedule)
        return found, wrong

    def change(self, name: str, change: Change, mend: bool = False) -> Schedule | None:
        """Store what ``change`` makes of a schedule, anew if it was changed meanwhile; return it as it is stored.

        ``mend``: remove a document that can't be read. Raises what ``change`` raises, SchemaTooNew, CorruptDocument,
        and the errors of the datastore.
        """
        key = schedule_key(name)
        attempts = Attempts(self._datastore, key, self._clock)
        while True:
            try:
                before = self.read(name)
            except CorruptDocument as error:
                if not mend:
                    raise
                self._datastore.delete(key)
                log.error("%s; it was removed and has to be made anew", error)
                before = None
            fields = change(before)
            if fields is None:
                return before
            if before is None:
                self._list(name)  # first: a schedule that the directory doesn't name would have no ticks
            with attempts:
                token = self._datastore.set_with_cas(key, fields, 0 if before is None else before.token)[1]
                return read(name, fields, token)

    def put(self, schedule: Schedule, fields: Document) -> Schedule:
        """Store a schedule's document if it is still the one that was read. Raises the datastore's refusals."""
        token = self._datastore.set_with_cas(schedule_key(schedule.name), fields, schedule.token)[1]
        return read(schedule.name, fields, token)

    def not_found(self, name: object, known: Iterable[str]) -> ScheduleNotFound:
        """Return the error for a name that no schedule has."""
        names = sorted(known)
        close = close_to(name, names)
        hint = f"; did you mean {close!r}?" if close else "."
        return ScheduleNotFound(f"there is no schedule {name!r:.120}{hint} Known: {', '.join(names) or 'none'}.")

    def _list(self, name: str) -> None:
        attempts = Attempts(self._datastore, SCHEDULES, self._clock)
        while True:
            try:
                fields, token = self._datastore.read_with_cas(SCHEDULES)
            except CorruptDocument as error:
                self._datastore.delete(SCHEDULES)
                log.error("%s can't be read, was removed and is made anew: %s", SCHEDULES, error)
                fields, token = None, None
            stored = (fields or {}).get("schedules")
            names = stored if isinstance(stored, dict) else {}
            if name in names:
                return
            with attempts:
                listed = {"documentType": SCHEDULES, "schedules": {**names, name: {}}}
                self._datastore.set_with_cas(SCHEDULES, listed, token or 0)
                return
