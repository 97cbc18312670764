"""Rates: the sum of all workers' figures, kept as of the end of each minute and hour, and the differences.

The sweeper creates one document for each minute, and one for each hour, with the cumulative figures as they were then.
The first create wins. What happened in between is the difference to what a reader has counted before, so it
counts nothing twice: two sweepers at once, a takeover, and steps of a clock only move runs between minutes.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import ZerogError
from zerog.fleet.rates import RetiredRates
from zerog.records.keys import HOUR, MINUTE, RATES
from zerog.records.operations import Document
from zerog.records.periods import HOURS, MINUTES, Period
from zerog.records.rates import (
    CLASSES,
    COUNTS,
    RAN,
    RUNS,
    WAIT,
    Figures,
    added,
    bounded,
    grown,
    is_empty,
    larger,
    nothing,
    read,
    runs_in,
)
from zerog.records.worker import read_record
from zerog.support.clock import from_text

log = logging.getLogger("zerog")

KINDS = ((MINUTES, MINUTE), (HOURS, HOUR))

PROBED = 120
"""Periods after the last one that is noted, in which figures are looked for: their writer may have been killed."""

REMOVED = 200
"""Old periods that are removed by one sweep, at most."""


@dataclass(frozen=True)
class TypeRates:
    """The runs of one job type that ended in a period."""

    runs: dict[str, int]
    """By outcome: ``succeeded``, ``failed``, ``cancelled``, ``requeued``, ``released``, ``lost`` to another worker."""
    seconds_run: float
    seconds_waited: float
    """Sum of the times from when each job could be taken to its claim."""
    waited: tuple[int, ...]
    """Runs by that time: up to each bound of ``zerog.records.rates.WAITED`` in seconds; the last is of all above."""

    @property
    def total(self) -> int:
        """Return the number of runs, whatever their outcome."""
        return sum(self.runs.values())


@dataclass(frozen=True)
class Rates:
    """What all workers did in one minute or hour."""

    start: datetime
    seconds: int
    """The length of the period."""
    types: dict[str, TypeRates]
    """By job type; beyond 50 of one worker they are ``other``."""
    lease_losses: int = 0
    """Times at which a worker could not renew its lease, and stopped its runs."""
    collisions: int = 0
    """Writes that were made again since another one had changed the document."""
    repairs: int = 0
    """Jobs that sweeps put on their queue again, took from their owner, or ended."""

    @property
    def total(self) -> int:
        """Return the number of runs, whatever their type and outcome."""
        return sum(each.total for each in self.types.values())


def keep_rates(engine: Engine) -> None:
    """Keep the figures as of now under the minute, and the hour, that is over; called by the sweeper after each sweep.

    Nothing is written if they exist, or nothing has happened. A failure is left to the next sweep.
    """
    try:
        state = read_record(engine.datastore, RATES).fields
        now = engine.now()
        spans = {prefix: period.span(state) for period, prefix in KINDS}
        due = [(period, each) for period, each in KINDS if (spans[each] or (0, 0))[1] != period.number(now) - 1]
        totals = RetiredRates(engine).totals()[0] if due else nothing()
        now = engine.now()  # not before the figures were read
        for period, prefix in due:
            _keep(engine, period, prefix, totals, spans[prefix], period.number(now) - 1)
    except ZerogError as error:
        log.warning("the rates of the last minute can't be kept, trying again: %s", error)


def _keep(
    engine: Engine, period: Period, prefix: str, totals: Figures, span: tuple[int, int] | None, number: int
) -> None:
    last = _last(engine, period, prefix, span, number)
    before = nothing() if last is None else read(last[1].get("totals"))
    totals = bounded(larger(totals, before), before)
    if is_empty(grown(totals, before)):
        return
    key = f"{prefix}{period.name(number)}"
    datastore = engine.datastore
    with suppress(datastore.casException):  # another sweeper has kept it
        datastore.create(key, {"documentType": prefix.rstrip("_"), "before": before, "totals": totals})
    first = number if span is None else min(span[0], number)
    first = _remove(engine, period, prefix, first, number - period.kept)
    _note(engine, period, [first, number])


def _last(
    engine: Engine, period: Period, prefix: str, span: tuple[int, int] | None, number: int
) -> tuple[int, Document] | None:
    """Return the last period that has figures."""
    if span is None:
        return None
    numbers = [span[1], *range(span[1] + 1, min(number, span[1] + PROBED))]
    found = _documents(engine.datastore, period, prefix, numbers)
    return max(found.items(), default=None, key=lambda item: item[0])


def _documents(datastore: Any, period: Period, prefix: str, numbers: list[int]) -> dict[int, Document]:
    keys = {f"{prefix}{period.name(number)}": number for number in numbers}
    return {keys[key]: document for key, document in datastore.read_heads([*keys]).found.items()}


def _remove(engine: Engine, period: Period, prefix: str, first: int, oldest: int) -> int:
    """Remove what is kept no longer; return the first period that may still have figures."""
    if not engine.datastore.can_delete:
        return first
    end = min(oldest, first + REMOVED)
    for number in range(first, end):
        engine.datastore.delete(f"{prefix}{period.name(number)}")
    return max(first, end)


def _note(engine: Engine, period: Period, noted: list[int]) -> None:
    """Note the first period with figures, and the one written last; the keys of all follow from that."""
    attempts = Attempts(engine.datastore, RATES, engine.clock)
    while True:
        state, token = engine.datastore.read_with_cas(RATES)
        if state is not None and state.get(period.field) == noted:
            return
        with attempts:
            changed = {**(state or {}), "documentType": RATES, period.field: noted}
            engine.datastore.set_with_cas(RATES, changed, token or 0)
            return


def rates(engine: Engine, count: int, hourly: bool = False) -> list[Rates]:
    """Return the rates of the last ``count`` minutes or hours, oldest first; the last is the current one, so far.

    What no sweep has kept yet is counted where the latest worker's record was written.
    """
    period, prefix = KINDS[hourly]
    current = period.number(engine.now())
    numbers = range(current - count + 1, current + 1)
    state = read_record(engine.datastore, RATES).fields
    found = _documents(engine.datastore, period, prefix, list(numbers))
    shown, counted = _differences(found)
    last = _last(engine, period, prefix, period.span(state), current)
    counted = counted if last is None else larger(counted, read(last[1].get("totals")))
    totals, at = RetiredRates(engine).totals()
    number = current if not at else min(period.number(from_text(at)), current)
    if number in numbers:
        rest = grown(totals, counted)
        shown[number] = rest if number not in shown else added(shown[number], rest)
    return [_rates(period, number, shown.get(number, nothing())) for number in numbers]


def _differences(found: dict[int, Document]) -> tuple[dict[int, Figures], Figures]:
    """Return what happened in each period, and the figures up to which that is counted.

    Periods are counted in the order in which they were kept, which that of a clock that was set back is not.
    """
    shown: dict[int, Figures] = {}
    counted = nothing()
    kept = [(read(each.get("totals")), read(each.get("before")), number) for number, each in found.items()]
    for totals, before, number in sorted(kept, key=lambda each: (runs_in(each[0]), each[2])):
        counted = larger(counted, before)  # what was kept in between is in a period that isn't asked for
        shown[number] = grown(totals, counted)
        counted = larger(counted, totals)
    return shown, counted


def _rates(period: Period, number: int, figures: Figures) -> Rates:
    losses, collisions, repairs = (figures[name] for name in COUNTS)
    types = {name: _of_type(outcomes) for name, outcomes in sorted(figures["types"].items())}
    shown = {name: each for name, each in types.items() if each.total}
    return Rates(period.start(number), period.seconds, shown, losses, collisions, repairs)


def _of_type(outcomes: dict[str, list[int]]) -> TypeRates:
    runs = {outcome: counts[RUNS] for outcome, counts in sorted(outcomes.items()) if counts[RUNS]}
    sums = [sum(column) for column in zip(*outcomes.values(), strict=True)]
    return TypeRates(runs, sums[RAN] / 1_000, sums[WAIT] / 1_000, tuple(sums[CLASSES:]))


def to_json(shown: Rates) -> Document:
    """Return rates as JSON values."""
    types = {
        name: {
            "runs": each.runs,
            "secondsRun": each.seconds_run,
            "secondsWaited": each.seconds_waited,
            "waited": list(each.waited),
        }
        for name, each in shown.types.items()
    }
    counts = dict(zip(COUNTS, (shown.lease_losses, shown.collisions, shown.repairs), strict=True))
    return {"start": shown.start.isoformat(), "seconds": shown.seconds, "types": types, **counts}
