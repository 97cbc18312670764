"""Worker settings and their validation."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zerog.exceptions import ConfigurationError

LEASE = 30.0
"""Seconds without a heartbeat after which other workers may take a worker's jobs."""

GRACE = 25.0
"""Seconds that running jobs get at shutdown; Kubernetes kills after 30."""

JOBS_PER_CHILD = 100
"""Runs after which a child process is replaced."""

EXECUTORS = ("thread", "async", "process")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that end a worker."""

BUILD_VARIABLE = "ZEROG_BUILD"
"""Environment variable with the build of the code, for workers without ``build_id``."""

DEBUG_VARIABLE = "ZEROG_DEBUG"
"""Environment variable for debug mode, for workers without ``debug``."""

DEBUG_LEASE = 3600.0
"""Seconds of lease in debug mode: a debugger may stop the thread that renews it, too."""

ROLE_VARIABLE = "ZEROG_ROLE"
"""Environment variable with the role, for workers without ``role`` and ``queues``."""

LONGEST_TEXT = 100
"""Characters of a name or a build."""


@dataclass(frozen=True)
class Settings:
    """The options of a worker, checked. Raises ConfigurationError for anything that could not work."""

    concurrency: int
    executor: str
    lease: float
    grace: float
    queues: tuple[str, ...]
    name: str
    build_id: str | None
    max_jobs: int | None
    max_jobs_per_child: int
    max_memory: int | None
    connect_retries: int | None
    signals: tuple[int, ...]
    debug: bool = False
    role: str | None = None

    def __post_init__(self) -> None:
        _check_whole("concurrency", self.concurrency, 1, 1_000)
        if self.executor not in EXECUTORS:
            raise ConfigurationError(f"executor={self.executor!r}; expected {', '.join(EXECUTORS)}")
        if not _is_number(self.lease) or not 0.5 <= self.lease <= 3600:
            raise ConfigurationError(f"lease={self.lease!r}; expected seconds from 0.5 to 3600")
        if not _is_number(self.grace) or not self.grace >= 0:
            raise ConfigurationError(f"grace={self.grace!r}; expected seconds, 0 or more")
        _check_text("name", self.name)
        if self.role is not None:
            _check_text("role", self.role)
        if self.build_id is not None:
            _check_text("build_id", self.build_id)
        _check_whole("max_jobs_per_child", self.max_jobs_per_child, 1, 1_000_000_000)
        for option, unit in (("max_jobs", "runs"), ("max_memory", "bytes")):
            value = getattr(self, option)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigurationError(f"{option}={value!r}; expected a whole number of {unit}, 1 or more, or None")
        retries = self.connect_retries
        if retries is not None and (type(retries) is not int or retries < 0):
            raise ConfigurationError(
                f"connect_retries={retries!r}; expected a whole number, 0 or more, or None to try for ever"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a copy as JSON values."""
        return {**asdict(self), "queues": list(self.queues), "signals": [_name_of(number) for number in self.signals]}


def settings_of(
    queues: Sequence[str],
    default_queue: str,
    name: str | None,
    build_id: str | None,
    signals: Sequence[int],
    debug: bool | None,
    role: str | None = None,
    **rest: Any,
) -> Settings:
    """Return the settings, with defaults from app, machine and environment. Raises ConfigurationError."""
    if isinstance(queues, str) or not all(isinstance(queue, str) for queue in queues):
        raise ConfigurationError(f"queues={queues!r}; expected a list of names, for example ['high', 'low']")
    try:
        numbers = tuple(signal.Signals(number) for number in signals)
    except (TypeError, ValueError):
        numbers = (signal.SIGKILL,)
    if not {signal.SIGKILL, signal.SIGSTOP}.isdisjoint(numbers):
        raise ConfigurationError(
            f"signals={signals!r:.200}; expected signals that can be handled, for example (signal.SIGTERM,)"
        )
    _check_threads()
    role = os.environ.get(ROLE_VARIABLE) or None if role is None and not queues else role
    if role is not None and queues:
        raise ConfigurationError(f"role={role!r:.80} and queues={queues!r:.200}; expected one of both")
    settings = Settings(
        role=role,
        queues=() if role is not None else tuple(queues) or (default_queue,),
        name=socket.gethostname() if name is None else name,
        build_id=os.environ.get(BUILD_VARIABLE) or None if build_id is None else build_id,
        signals=numbers,
        **rest,
    )
    settings = replace(settings, lease=float(settings.lease), grace=float(settings.grace))
    if is_debug(debug):
        return replace(settings, debug=True, executor="thread", concurrency=1, lease=DEBUG_LEASE)
    return settings


def is_debug(given: object) -> bool:
    """Return True for debug mode, as given or, with None, by the environment. Raises ConfigurationError."""
    if given is None:
        text = os.environ.get(DEBUG_VARIABLE, "")
        if text not in ("", "0", "1"):
            raise ConfigurationError(f"{DEBUG_VARIABLE}={text!r:.80}; expected 1 for debug mode, 0 or nothing for none")
        return text == "1"
    if type(given) is not bool:
        raise ConfigurationError(f"debug={given!r:.80}; expected True, False, or None for {DEBUG_VARIABLE}")
    return given


def _check_threads() -> None:
    """Refuse threads that aren't the system's: one that waits for a descriptor would hold up all others for ever."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise ConfigurationError(
            "gevent has replaced the threads of this process (gevent.monkey.patch_all), which a worker can't run with; "
            "expected an app whose module doesn't do that. Patch only in the program that serves requests"
        )


def _check_whole(option: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ConfigurationError(f"{option}={value!r}; expected a whole number from {least} to {most}")


def _check_text(option: str, value: object) -> None:
    if type(value) is not str or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{option}={value!r:.200}; expected 1 to {LONGEST_TEXT} characters without spaces")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _name_of(number: int) -> str:
    return signal.Signals(number).name
