"""Show the limits that hold now, of types, keys and queues: with how many jobs run and are parked at each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine.engine import Engine
from zerog.fleet.settings import LiveSettings
from zerog.jobs.base import BaseJob
from zerog.jobs.concurrency import limits_of
from zerog.records.job import RUNNING, Document
from zerog.records.limits import ANY, KINDS, Limit, Parked, parked_in, parked_term
from zerog.records.settings import Rate

LOOKED_AT = 1_000
"""Parked jobs that are read for numbers and keys, and running ones for keys, at most."""

SHOWN = 200
"""Limits that are returned, at most."""


class LimitsNow(NamedTuple):
    """Limits, and whether there may be more of them, or more parked jobs, than were looked at."""

    each: list[dict[str, Any]]
    is_capped: bool


def limits_now(engine: Engine, classes: Iterable[type[BaseJob]], job_type: str | None = None) -> LimitsNow:
    """Return the limits of these classes, of their keys and of queues; with ``job_type`` those of one type alone.

    Those of a key are found by jobs that run or are parked there; those of types without a class here by parked jobs.
    Each has ``limit`` (as parked jobs show it), ``kind`` and ``name``, of a key ``attribute`` and ``value``; ``most``
    and ``rate`` as they hold now: what is stored of the last run that asked for a slot, if anything is
    (``is_stored``), or else what is ``declared`` by the code or the queue's settings (None if that is unknown here);
    ``running`` (None of a rate) and ``parked`` (None if the datastore parks none). Raises the datastore's errors.
    """
    notes, is_capped = _parked(engine, job_type)
    declared = {limit.key: limit for limit in _declared(engine, classes, job_type)}
    if engine.datastore.can_find:
        running = engine.datastore.find(FindQuery(status=RUNNING, job_type=job_type, limit=LOOKED_AT))
        is_capped = is_capped or running.after is not None
        declared |= {limit.key: limit for head in running.heads for limit in engine.limits_of(head).each}
    for parked, head in notes:
        declared |= {limit.key: limit for limit in engine.limits_of(head).each if limit.key == parked.key}
    noted = {parked.key: Limit(parked.of, parked.most, parked.rate) for parked, _ in notes}
    counts = Counter(parked.key for parked, _ in notes) if engine.parks else None
    known = [limit for limit in {**noted, **declared}.values() if job_type is None or limit.parts[0] != "queue"]
    known.sort(key=lambda limit: (-KINDS.index(limit.parts[0]), -(counts or Counter[str]())[limit.key], limit.parts))
    shown = [_shown(engine, limit, declared.get(limit.key), counts) for limit in known[:SHOWN]]
    return LimitsNow(shown, is_capped or len(known) > SHOWN)


def _parked(engine: Engine, job_type: str | None) -> tuple[list[tuple[Parked, Document]], bool]:
    """Return where the first parked jobs are parked, with their heads; True if there are more."""
    if not engine.parks:
        return [], False
    query = FindQuery(order=OLDEST, job_type=job_type, attrs=(parked_term(ANY),), limit=LOOKED_AT)
    page = engine.datastore.find(query)
    return [(parked, head) for head in page.heads if (parked := parked_in(head)) is not None], page.after is not None


def _declared(engine: Engine, classes: Iterable[type[BaseJob]], job_type: str | None) -> Iterator[Limit]:
    """Yield the limits of types in the code, and those that are set of queues."""
    for job_class in classes:
        if job_type in (None, job_class.JOB_TYPE):
            yield from limits_of(job_class, {}).each
    for name, limits in LiveSettings(engine).queues().items():
        if "maxRunning" in limits:
            yield Limit(("queue", name), limits["maxRunning"])
        if "rate" in limits:
            yield Limit(("queue", name, "rate"), rate=Rate.read(limits["rate"]))


def _shown(engine: Engine, limit: Limit, declared: Limit | None, counts: Counter[str] | None) -> dict[str, Any]:
    slots = engine.slots_of(limit)
    is_stored = slots.most is not None or slots.rate is not None
    held = limit._replace(most=slots.most, rate=slots.rate) if is_stored else limit
    is_rate = held.rate is not None
    kind, name, *key = limit.parts
    return {
        "limit": str(held),
        "kind": kind,
        "name": name,
        "attribute": key[0] if kind == "key" else None,
        "value": key[1] if kind == "key" else None,
        **_numbers(held),
        "is_stored": is_stored,
        "declared": None if declared is None else _numbers(declared),
        "running": None if is_rate else slots.taken,
        "parked": None if counts is None else counts[limit.key],
    }


def _numbers(limit: Limit) -> dict[str, Any]:
    return {"most": limit.most, "rate": None if limit.rate is None else str(limit.rate)}
