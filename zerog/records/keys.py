"""Keys of the documents that aren't jobs: one list, read by everything that must find them all.

A datastore lists jobs only. Every other document is found by its key, so each kind is a line in KEYS that names the
key, or its beginning and where the rest of it is written down. A job's key is ``zerog_job_<uuid>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from zerog.records.operations import Document
from zerog.records.periods import hours_in, minutes_in

WORKERS = "zerog_workers"
"""Key of the document that names every worker with a record."""

QUEUES = "zerog_queues"
"""Key of the document with the paused queues and the queues of entries set aside."""

TYPES = "zerog_types"
"""Key of the document with the held job types."""

SETTINGS = "zerog_settings"
"""Key of the document with the limits of queues and the queues of roles."""

SWEEPER = "zerog_sweeper"
"""Key of the record with the name of the sweeper."""

SCHEDULES = "zerog_schedules"
"""Key of the document that names every schedule."""

COPIED_TO = "zerog_copied_to"
"""Key of the note at the place from which ``zerog copy`` has moved an installation."""

COPIED_FROM = "zerog_copied_from"
"""Key of the note at the place to which ``zerog copy`` moves one."""

RATES = "zerog_rates"
"""Key of the document with the spans of the minutes and hours of which there are figures."""

RETIRED_RATES = "zerog_rates_retired"
"""Key of the document with the figures of workers that are gone."""

MINUTE, HOUR = "zerog_rates_minute_", "zerog_rates_hour_"
"""Beginnings of the keys of the figures as of the end of a minute, of an hour."""

SCHEMAS = "zerog_schemas"
"""Key of the document that names every type with stored schemas."""

REINDEXED = "zerog_reindexed"
"""Key of the note how far the attributes of jobs have been filled."""

OPEN_JOBS = "zerog_open_"
"""Beginning of the keys of Couchbase's own index of unfinished jobs."""


UNIQUE = "zerog_unique_"
"""Beginning of the keys of the locks of unique jobs; the hash of the job's type and key follows."""

LIMIT = "zerog_limit_"
"""Beginning of the keys of the slots of limits; the hash of what the limit is of follows."""


def worker_key(name: str) -> str:
    """Return the datastore key of a worker's record."""
    return f"zerog_worker_{name}"


def schedule_key(name: str) -> str:
    """Return the datastore key of a schedule."""
    return f"zerog_schedule_{name}"


def schema_key(name: str) -> str:
    """Return the datastore key of a type's schemas, by its name in the directory."""
    return f"zerog_schema_{name}"


class Role(Enum):
    """What a document is for, and so what becomes of it when an installation moves to another datastore."""

    SETTING = auto()
    """Given by an operator or a program, or the memory of what was done: moves along."""
    PRESENCE = auto()
    """About the place, or written by living processes about themselves: stays behind, the new place gets its own."""
    INDEX = auto()
    """Made by an adapter from the jobs' documents: the other adapter makes its own."""


@dataclass(frozen=True)
class Key:
    """One kind of document: a single one, or one for each of several names."""

    key: str
    """The key; the beginning of each key if there are several documents."""
    role: Role
    holds: str
    """What is in it, in a few words, for reports."""
    directory: str = ""
    """Key of the document that lists the names; empty for a single document, or with ``names_of_job``."""
    names_in: Callable[[Document], Iterable[str]] | None = None
    """Returns the names that the directory's document lists."""
    names_of_job: Callable[[Document], Iterable[str]] | None = None
    """Returns the names that follow from one job's head; None if jobs have nothing to do with it."""


def _names(field: str) -> Callable[[Document], Iterable[str]]:
    """Return a reader of the names in an object or a list of texts; whatever else is stored there holds none."""

    def names(document: Document) -> Iterable[str]:
        found = document.get(field)
        return [name for name in found if type(name) is str] if isinstance(found, dict | list) else []

    return names


def _lock_of(head: Document) -> list[str]:
    """Return the hash of a unique job's key, if it is one."""
    lock = head.get("uniqueLock")
    return [lock["key"]] if isinstance(lock, dict) and type(lock.get("key")) is str else []


def _limit_of(head: Document) -> list[str]:
    """Return the hash of the limit that a job is parked at, or was, if it is one."""
    parked = head.get("parked")
    key = parked.get("key") if isinstance(parked, dict) else None
    return [key.removeprefix(LIMIT)] if isinstance(key, str) and key.startswith(LIMIT) else []


KEYS = (
    Key(WORKERS, Role.PRESENCE, "the names of all workers"),
    Key(worker_key(""), Role.PRESENCE, "a worker's record", directory=WORKERS, names_in=_names("workers")),
    Key(SWEEPER, Role.PRESENCE, "the name of the sweeper"),
    Key(QUEUES, Role.SETTING, "paused queues, and queues of entries set aside"),
    Key(SETTINGS, Role.SETTING, "limits of queues, and the queues of roles"),
    Key(SCHEDULES, Role.SETTING, "the names of all schedules"),
    Key(schedule_key(""), Role.SETTING, "a schedule", directory=SCHEDULES, names_in=_names("schedules")),
    Key(SCHEMAS, Role.SETTING, "the names of all types with schemas"),
    Key(schema_key(""), Role.SETTING, "a type's schemas", directory=SCHEMAS, names_in=_names("types")),
    Key(COPIED_TO, Role.PRESENCE, "where the jobs were copied to"),
    Key(COPIED_FROM, Role.PRESENCE, "where the jobs were copied from"),
    Key(RATES, Role.PRESENCE, "the spans of minutes and hours with figures"),
    Key(RETIRED_RATES, Role.PRESENCE, "figures of workers that are gone"),
    Key(MINUTE, Role.PRESENCE, "figures as of a minute", directory=RATES, names_in=minutes_in),
    Key(HOUR, Role.PRESENCE, "figures as of an hour", directory=RATES, names_in=hours_in),
    Key(UNIQUE, Role.SETTING, "the uuid of the job that has a key", names_of_job=_lock_of),
    Key(LIMIT, Role.PRESENCE, "the slots of a limit", names_of_job=_limit_of),
    Key(REINDEXED, Role.PRESENCE, "how far the attributes of jobs have been filled"),
    Key(TYPES, Role.SETTING, "held job types"),
    Key(OPEN_JOBS, Role.INDEX, "an index of unfinished jobs"),
)
"""Every document that isn't a job. An index is only named here: its adapter alone reads it."""


def stored_keys(read: Callable[[str], Document | None], roles: Iterable[Role] = (Role.SETTING,)) -> Iterator[str]:
    """Yield the keys of all documents of these roles that a directory or their own name leads to.

    ``read`` returns a document by its key, None if there is none. A document need not exist. Those that follow from
    jobs' heads aren't among them (``keys_of_job``), nor is an index. Raises what ``read`` raises.
    """
    wanted = frozenset(roles) - {Role.INDEX}
    for kind in KEYS:
        if kind.role not in wanted or kind.names_of_job is not None:
            continue
        if kind.names_in is None:
            yield kind.key
        else:
            yield from (kind.key + name for name in sorted(kind.names_in(read(kind.directory) or {})))


def keys_of_job(head: Document) -> list[str]:
    """Return the keys of the documents that follow from one job's head."""
    return [kind.key + name for kind in KEYS if kind.names_of_job is not None for name in kind.names_of_job(head)]
