"""The figures of workers that are gone, in one document, and the sum of those of all workers.

Each life of a worker's record has a name, under which its figures only grow. What is known of them, from the record and
from the document of those that are gone, is counted once, in its latest state. So it doesn't matter if a worker's end
is noted twice, or while it returns.
"""

from __future__ import annotations

from typing import Any

from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument
from zerog.records.fields import is_name
from zerog.records.keys import RETIRED_RATES, WORKERS
from zerog.records.operations import Document
from zerog.records.rates import Figures, added, bounded, is_empty, larger, nothing, read
from zerog.records.worker import read_record, read_workers
from zerog.support.clock import to_text

KEPT = 100
"""Lives whose figures are kept apart; of more, the earliest ones are summed up."""


class RetiredRates:
    """The document of the workers that are gone, in one engine's datastore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def retire(self, stored: Any) -> None:
        """Keep the figures of a record, or their latest state. Raises the errors of the datastore.

        ``stored``: the field of the record; whatever isn't one, or counts nothing, is left out.
        """
        figures, life = read(stored), stored.get("id") if isinstance(stored, dict) else None
        if not is_name(life) or is_empty(figures):
            return
        datastore = self._engine.datastore
        attempts = Attempts(datastore, RETIRED_RATES, self._engine.clock)
        while True:
            try:
                document, token = datastore.read_with_cas(RETIRED_RATES)
            except CorruptDocument:
                datastore.delete(RETIRED_RATES)
                document, token = None, None
            base, lives = parts(document)
            known = lives.pop(str(life), nothing())
            if known == (known := larger(known, figures)):
                return
            lives[str(life)] = known
            while len(lives) > KEPT:
                base = bounded(added(base, lives.pop(next(iter(lives)))), base)
            at = to_text(self._engine.now())
            with attempts:
                changed = {"documentType": RETIRED_RATES, "at": at, "base": base, "lives": lives}
                datastore.set_with_cas(RETIRED_RATES, changed, token or 0)
                return

    def totals(self) -> tuple[Figures, str]:
        """Return the figures of all workers that ever were, and the time of the latest, as text; empty if unknown.

        Workers' records are read first: one that goes meanwhile is in the document that is read then.
        """
        datastore = self._engine.datastore
        names = (read_record(datastore, WORKERS).fields or {}).get("workers")
        records = read_workers(datastore, [name for name in names if is_name(name)] if isinstance(names, dict) else [])
        document = read_record(datastore, RETIRED_RATES).fields
        base, lives = parts(document)
        times = [str((document or {}).get("at") or "")]
        for record in records.values():
            stored = (record.fields or {}).get("rates")
            if isinstance(stored, dict) and is_name(stored.get("id")):
                lives[stored["id"]] = larger(lives.get(stored["id"], nothing()), read(stored))
                times.append(str((record.fields or {}).get("renewedAt") or ""))
        return added(base, *lives.values()), max(times)


def parts(document: Document | None) -> tuple[Figures, dict[str, Figures]]:
    """Return the summed up figures in the document, and those that it keeps apart, by life."""
    lives = (document or {}).get("lives")
    apart = {life: read(figures) for life, figures in lives.items()} if isinstance(lives, dict) else {}
    return read((document or {}).get("base")), apart
