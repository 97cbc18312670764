"""Progress of a job: the methods that set and add to its completeness. The arithmetic is in ``progress``."""

from __future__ import annotations

from zerog.jobs.answers import Info, Progress
from zerog.jobs.progress import info_of, is_worth_recording, progress_of
from zerog.jobs.stored import StoredJob
from zerog.records.attrs import ATTRS
from zerog.records.operations import Add, Set

FLUSH_EVERY = 5.0
"""Seconds after the last write after which a tick writes the collected ticks, however few."""


class ProgressMethods(StoredJob):
    """The methods of a job that read and write its completeness."""

    def set_completeness(self, completeness: float) -> None:
        """Set how much is done, from 0.0 to 1.0; ticks not yet recorded are dropped.

        Values outside are clamped; more than 1.0 logs a warning, once for each object.
        """
        self._document.write([Set("completeness", self._clamped(completeness)), Set("tickcount", 0.0)])

    def add_to_completeness(self, delta: float) -> None:
        """Add ``delta`` to how much is done, together with ticks not yet recorded."""
        self._document.absorb_ticks(float(delta))

    def set_tick_value(self, tickval: float) -> None:
        """Set how much one ``tick`` adds to the completeness; 0.001 unless set."""
        self.update_attrs(tickval=float(tickval))

    def tick(self) -> None:
        """Count one step. Written once the steps make 0.01, 5 seconds after the last write, or with any other write."""
        document = self._document
        document.write([Add("tickcount", self.tickval)], flush=False)
        silent_for = document.clock.monotonic() - document.last_write
        if is_worth_recording(self.tickcount) or (self.tickcount > 0 and silent_for >= FLUSH_EVERY):
            self.add_to_completeness(0.0)
        self.keep_alive()

    def progress(self) -> Progress:
        """Return ``completeness``, ``result``, ``status`` and more, as of this object's last read or write, as JSON."""
        document = self._document
        return progress_of(document.attributes.dump_engine_fields(), document.clock.now(), self.MAX_ERRORS)

    def info(self) -> Info:
        """Return ``progress()`` with ``attrs`` as last stored, ``events``, ``warnings`` and ``errors``."""
        document = self._document
        attrs = {ATTRS: (document.stored or {}).get(ATTRS)}
        shown = {**document.attributes.dump_engine_fields(), **attrs, **document.dump_history()}
        return info_of(shown, document.clock.now(), self.MAX_ERRORS)
