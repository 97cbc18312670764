"""What a program or an operator gives of a schedule, and its stored form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.jobs.submit_options import check_priority
from zerog.records.fields import is_name
from zerog.records.operations import Document
from zerog.schedules.timing import LONGEST, Timing
from zerog.support import jsonvalues
from zerog.support.checks import check_queue_name
from zerog.support.jsonvalues import short_repr

SKIP, QUEUE, CANCEL = OVERLAPS = ("skip", "queue", "cancel")
"""What becomes of a tick while the previous job hasn't ended: no job; one later; one later, and that is cancelled."""

ONE, NONE = CATCH_UPS = ("one", "none")
"""What is made up for of ticks that were missed while no worker lived: the latest, or nothing."""

NAMES = "[A-Za-z0-9][A-Za-z0-9._:-]{0,99}"
"""What names of schedules look like, as a regular expression."""

_NAME = re.compile(NAMES).fullmatch
_REFUSED = "The schedule was not stored."


@dataclass(frozen=True)
class Definition:
    """A schedule's job type, parameters, times and rules."""

    job_type: str
    timing: Timing
    params: Mapping[str, Any] = field(default_factory=dict)
    overlap: str = SKIP
    catch_up: str = ONE
    queue: str | None = None
    priority: int | None = None

    def to_json(self) -> Document:
        """Return the stored form."""
        return {
            "jobType": self.job_type,
            **asdict(self.timing),
            "params": dict(self.params),
            "overlap": self.overlap,
            "catchUp": self.catch_up,
            "queue": self.queue,
            "priority": self.priority,
        }

    @property
    def digest(self) -> str:
        """The same for equal definitions, in every process."""
        return hashlib.sha256(jsonvalues.encode(_sorted(self.to_json())).encode()).hexdigest()[:16]


def definition_of(
    job_type: str,
    params: Mapping[str, Any],
    timing: Timing,
    *,
    overlap: str,
    catch_up: str,
    queue: str | None,
    priority: int | None,
) -> Definition:
    """Check the rest of what was given, but for the parameters. Raises InvalidValue."""
    for name, value, known in (("overlap", overlap, OVERLAPS), ("catch_up", catch_up, CATCH_UPS)):
        if value not in known:
            raise InvalidValue(f"{name}={value!r:.80}; expected {' or '.join(map(repr, known))}. {_REFUSED}")
    if queue is not None:
        check_queue_name(queue)
    if priority is not None:
        check_priority(priority)
    jsonvalues.check(dict(params), "params")
    return Definition(job_type, timing, dict(params), overlap, catch_up, queue, priority)


def check_schedule_name(name: object) -> str:
    """Return the name of a schedule. Raises InvalidValue."""
    if type(name) is not str or _NAME(name) is None:
        raise InvalidValue(
            f"name={name!r:.80}; expected up to 100 letters, digits, dots, colons, hyphens and underscores of ASCII, "
            f"with a letter or digit first. {_REFUSED}"
        )
    return name


def from_json(stored: Any) -> Definition:
    """Return a stored definition. Raises CorruptDocument."""
    if type(stored) is not dict:
        raise CorruptDocument(f"its definition is {short_repr(stored)}")
    cron, every, timezone = (stored.get(name) for name in ("cron", "every", "timezone"))
    is_interval = cron is None and type(every) is int and 0 < every <= LONGEST
    fits = {
        "jobType": type(stored.get("jobType")) is str,
        "every": is_interval or every is None,
        "cron": is_interval or type(cron) is str,
        "timezone": type(timezone) is str,
        "params": type(stored.get("params")) is dict,
        "overlap": stored.get("overlap") in OVERLAPS,
        "catchUp": stored.get("catchUp") in CATCH_UPS,
        "queue": stored.get("queue") is None or is_name(stored["queue"]),
        "priority": stored.get("priority") is None or type(stored["priority"]) is int,
    }
    for name, is_right in fits.items():
        if not is_right:
            raise CorruptDocument(f"its {name} is {short_repr(stored.get(name))}")
    rest = (stored[name] for name in ("params", "overlap", "catchUp", "queue", "priority"))
    return Definition(stored["jobType"], Timing(cron, every, str(timezone)), *rest)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value
