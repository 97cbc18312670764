"""Live settings: the limits of queues and the queues of roles, which operators change while workers run.

All are in one document, ``zerog_settings``: ``queues`` has by name ``maxRunning``, ``rate`` and ``maxWaiting``, each
absent if it isn't set, and ``roles`` by name the list ``queues``; each entry has ``since`` and ``by``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.records.fields import LARGEST_COUNT, is_name
from zerog.records.job import Document
from zerog.records.keys import SETTINGS
from zerog.records.worker import read_record
from zerog.support.jsonvalues import short_repr

if TYPE_CHECKING:
    from zerog.contracts.datastore import Datastore

UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
"""Seconds of the units of a rate."""


class Rate(NamedTuple):
    """So many starts in a time."""

    number: int
    """Starts, 1 or more."""
    seconds: int
    """The time."""

    @classmethod
    def read(cls, text: object) -> Rate:
        """Return the rate of a text such as ``100/hour``; the units are those of UNITS. Raises InvalidValue."""
        number, _, unit = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not (number.isascii() and number.isdecimal()) or unit not in UNITS or not 0 < int(number) <= LARGEST_COUNT:
            raise InvalidValue(
                f"rate={text!r:.80}; expected a whole number, 1 or more, a slash and one of {', '.join(UNITS)}, for "
                "example '100/hour'. Nothing was changed."
            )
        return cls(int(number), UNITS[unit])

    def __str__(self) -> str:
        [unit] = [name for name, seconds in UNITS.items() if seconds == self.seconds]
        return f"{self.number}/{unit}"


class QueueLimits(NamedTuple):
    """What an operator has set of one queue; None stands for what isn't set."""

    max_running: int | None = None
    """Jobs of the queue that run at once."""
    rate: Rate | None = None
    """Starts of jobs of the queue."""
    max_waiting: int | None = None
    """Jobs that wait on the queue; a submit beyond it is refused."""


class Settings(NamedTuple):
    """All live settings; what isn't valid in the document is left out."""

    queues: dict[str, QueueLimits]
    """By the name of a queue, its limits."""
    roles: dict[str, tuple[str, ...]]
    """By the name of a role, the queues of its workers, in order."""


def read_settings(datastore: Datastore) -> Settings:
    """Read the live settings. Raises CorruptDocument, and the datastore's errors if it is unreachable."""
    record, damage, _ = read_record(datastore, SETTINGS)
    if damage:
        raise CorruptDocument("; ".join(damage))
    return settings_in(record)


def settings_in(record: Document | None) -> Settings:
    """Return the live settings in their document. Raises CorruptDocument."""
    queues = {name: _limits(name, entry) for name, entry in part_in(record, "queues").items() if is_name(name)}
    roles = {name: _queues_of(name, entry) for name, entry in part_in(record, "roles").items() if is_name(name)}
    return Settings(queues, roles)


def part_in(record: Document | None, part: str) -> Document:
    """Return the entries of one part of the settings by name, as they are stored. Raises CorruptDocument."""
    entries = (record or {}).get(part) or {}
    if type(entries) is not dict:
        raise CorruptDocument(f"{SETTINGS} holds {part}={short_repr(entries)}, expected an object by name")
    return {name: entry if type(entry) is dict else {} for name, entry in entries.items()}


def is_limit(value: object) -> bool:
    """Return True for a possible number of jobs: 1 or more."""
    return type(value) is int and 0 < value <= LARGEST_COUNT


def _limits(name: str, entry: Document) -> QueueLimits:
    numbers = entry.get("maxRunning"), entry.get("maxWaiting")
    if not all(number is None or is_limit(number) for number in numbers):
        raise CorruptDocument(f"{SETTINGS} holds {short_repr(entry)} of queue {name}, expected whole numbers from 1")
    try:
        rate = None if entry.get("rate") is None else Rate.read(entry["rate"])
    except InvalidValue:
        raise CorruptDocument(
            f"{SETTINGS} holds rate={short_repr(entry['rate'])} of queue {name}, expected one such as 100/hour"
        ) from None
    return QueueLimits(numbers[0], rate, numbers[1])


def _queues_of(name: str, entry: Document) -> tuple[str, ...]:
    queues: Any = entry.get("queues")
    if type(queues) is not list or not queues or not all(map(is_name, queues)):
        raise CorruptDocument(f"{SETTINGS} holds queues={short_repr(queues)} of role {name}, expected a list of names")
    return tuple(queues)
