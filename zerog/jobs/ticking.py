"""Progress of a job: the methods that set and add to its completeness. The arithmetic is in ``progress``."""

from __future__ import annotations

from typing import Any

from zerog.jobs import writes
from zerog.jobs.document import StoredJob
from zerog.jobs.progress import info_of, is_worth_recording, progress_of
from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Set
from zerog.support import jsonvalues

FLUSH_EVERY = 5.0
"""Seconds after the last write after which a tick writes the collected ticks, however few."""


class ProgressMethods(StoredJob):
    """The methods of a job that read and write its completeness."""

    def set_completeness(self, completeness: float) -> None:
        """Set how much is done, from 0.0 to 1.0; ticks not yet recorded are dropped.

        Values outside are clamped; more than 1.0 logs a warning, once for each object.
        """
        self._write([Set("completeness", self._clamped(completeness)), Set("tickcount", 0.0)])

    def add_to_completeness(self, delta: float) -> None:
        """Add ``delta`` to how much is done, together with ticks not yet recorded."""
        writes.absorb_ticks(self, float(delta))
        self._last_write = self._clock.monotonic()

    def set_tick_value(self, tickval: float) -> None:
        """Set how much one ``tick`` adds to the completeness; 0.001 unless set."""
        self.update_attrs(tickval=float(tickval))

    def tick(self) -> None:
        """Count one step. Written once the steps make 0.01, 5 seconds after the last write, or with any other write."""
        self._write([Add("tickcount", self.tickval)], flush=False)
        now = self._clock.monotonic()
        if is_worth_recording(self.tickcount) or (self.tickcount > 0 and now - self._last_write >= FLUSH_EVERY):
            self.add_to_completeness(0.0)
        self.keep_alive()

    def progress(self) -> dict[str, Any]:
        """Return ``completeness``, ``result``, ``status`` and more, as of this object's last read or write, as JSON."""
        return progress_of(self._dump_engine_fields(), self._clock.now())

    def info(self) -> dict[str, Any]:
        """Return ``progress()`` with ``events``, ``warnings`` and ``errors``."""
        history = {field: jsonvalues.copy(self._raw_entries(field)) for field in HISTORY}
        return info_of({**self._dump_engine_fields(), **history}, self._clock.now())
