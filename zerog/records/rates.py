"""Figures of what workers have done: cumulative counts per job type and outcome, as JSON values.

Figures only grow, so two states of the same figures have a larger one, and what happened between them is a difference.
A document without figures, or with a damaged part, counts as one without that part.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from zerog.records.fields import is_count
from zerog.records.operations import Document

MAX_TYPES = 50
"""Job types that one worker counts separately; further ones are OTHER."""

MOST_TYPES = 200
"""Job types that are counted separately for all workers; further ones are OTHER."""

OTHER = "other"

WAITED = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
"""Upper bounds, in seconds, of the classes into which runs fall by the time that their job waited; the last is open."""

RUNS, RAN, WAIT, CLASSES = range(4)
"""Places in the list of one type and outcome: runs, milliseconds run and waited, and from there the classes."""

LENGTH = CLASSES + len(WAITED) + 1

COUNTS = ("leaseLosses", "collisions", "repairs")
"""Counts that belong to no type."""

Figures = Document


def nothing() -> Figures:
    """Return figures of which all are 0."""
    return {"types": {}, **dict.fromkeys(COUNTS, 0)}


def add_run(figures: Figures, job_type: str, outcome: str, seconds: float, waited: float) -> None:
    """Count one run, within these figures."""
    types = figures["types"]
    if job_type not in types and len(types) >= MAX_TYPES:
        job_type = OTHER
    counts = types.setdefault(job_type, {}).setdefault(outcome, [0] * LENGTH)
    counts[RUNS] += 1
    counts[RAN] += round(max(0.0, seconds) * 1_000)
    counts[WAIT] += round(max(0.0, waited) * 1_000)
    counts[CLASSES + bisect_left(WAITED, waited)] += 1


def read(stored: Any) -> Figures:
    """Return stored figures without their damaged parts."""
    figures = nothing()
    if not isinstance(stored, dict):
        return figures
    figures |= {name: stored[name] for name in COUNTS if is_count(stored.get(name))}
    types = stored.get("types")
    for job_type, outcomes in types.items() if isinstance(types, dict) else ():
        for outcome, counts in outcomes.items() if isinstance(outcomes, dict) else ():
            if isinstance(counts, list) and len(counts) == LENGTH and all(map(is_count, counts)):
                figures["types"].setdefault(job_type, {})[outcome] = list(counts)
    return figures


def added(*every: Figures) -> Figures:
    """Return the sum."""
    return _combined(sum, every)


def larger(*every: Figures) -> Figures:
    """Return the larger of each pair of figures: the later one of two states."""
    return _combined(max, every)


def grown(figures: Figures, before: Figures) -> Figures:
    """Return by how much figures are larger than before; 0 where they aren't."""
    return _combined(lambda pair: max(0, pair[0] - pair[1]), (figures, before))


def bounded(figures: Figures, known: Figures) -> Figures:
    """Return figures in which the types beyond MOST_TYPES are OTHER; those that are ``known`` stay what they are."""
    types = figures["types"]
    if len(types) <= MOST_TYPES:
        return figures
    kept = [
        *(name for name in types if name in known["types"]),
        *(name for name in types if name not in known["types"]),
    ]
    rest = [{**nothing(), "types": {OTHER: types[name]}} for name in kept[MOST_TYPES:]]
    return added({**figures, "types": {name: types[name] for name in kept[:MOST_TYPES]}}, *rest)


def runs_in(figures: Figures) -> int:
    """Return the number of runs."""
    return sum(counts[RUNS] for outcomes in figures["types"].values() for counts in outcomes.values())


def is_empty(figures: Figures) -> bool:
    """True if all figures are 0."""
    return not any(figures[name] for name in COUNTS) and not any(
        any(counts) for outcomes in figures["types"].values() for counts in outcomes.values()
    )


def _combined(how: Callable[[tuple[int, ...]], int], every: Iterable[Figures]) -> Figures:
    every = list(every)
    made: Figures = {name: how(tuple(figures[name] for figures in every)) for name in COUNTS}
    made["types"] = types = {}
    zero = [0] * LENGTH
    for job_type in dict.fromkeys(name for figures in every for name in figures["types"]):
        some = [figures["types"].get(job_type, {}) for figures in every]
        types[job_type] = {
            outcome: [how(each) for each in zip(*(counts.get(outcome, zero) for counts in some), strict=True)]
            for outcome in dict.fromkeys(name for counts in some for name in counts)
        }
    return made
