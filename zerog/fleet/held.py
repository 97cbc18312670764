"""Job types that an operator holds: their jobs wait, untouched and uncounted, until they are released."""

from __future__ import annotations

from collections.abc import Callable

from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.fleet.commanded import change_document
from zerog.records.commands import held_in
from zerog.records.fields import is_name
from zerog.records.job import Document
from zerog.records.keys import TYPES
from zerog.records.worker import read_record
from zerog.support.checks import check_text
from zerog.support.clock import to_text


class HeldTypes:
    """The held types of one datastore, as ``app.fleet.types``. Every method raises the errors of the datastore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def held(self) -> Document:
        """Return the held types by name, each with ``since``, ``by``, ``reason``; none if the record is damaged."""
        try:
            return held_in(read_record(self._engine.datastore, TYPES).fields)
        except CorruptDocument:  # reported by doctor; holding or releasing a type makes the document anew
            return {}

    def hold(self, job_type: str, reason: str = "", by: str = "") -> bool:
        """Have all workers leave jobs of a type, within seconds; False, and a no-op, if they do already.

        Running jobs continue, and jobs are accepted. The type need not be known here. Raises InvalidValue.
        """
        entry = {
            "since": to_text(self._engine.now()),
            "by": check_text("by", by),
            "reason": check_text("reason", reason),
        }
        if not is_name(job_type):
            raise InvalidValue(f"job_type={job_type!r:.80}; expected the name of a type. Nothing was held.")
        return self._change(lambda held: held.setdefault(job_type, entry) is entry)

    def release(self, job_type: str) -> bool:
        """Let workers take the jobs of a held type again, within seconds; False if it was not held."""
        return self._change(lambda held: held.pop(job_type, None) is not None)

    def _change(self, change: Callable[[Document], bool]) -> bool:
        def changed(record: Document) -> Document | None:
            held = dict(held_in(record))
            return {"held": held} if change(held) else None

        return change_document(self._engine, TYPES, held_in, changed)
