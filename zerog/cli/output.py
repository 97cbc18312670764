"""Output of commands: plain for pipes, coloured for terminals, and safe whatever a document holds."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import datetime
from typing import Any

import click

from zerog.support.clock import from_text

STALLED = "stalled"
PARKED = "parked"
"""Status shown for a running job that has written nothing for long."""

STYLES = {
    "new": "dim",
    "queued": "dim",
    "scheduled": "dim",
    "paused": "yellow",
    "running": "cyan",
    STALLED: "yellow",
    PARKED: "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
}
"""The style of each status."""

_UNITS = ((7 * 86400, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def span(seconds: float) -> str:
    """Return a duration in its largest whole unit: 42s, 15m, 6h, 3d, 8w."""
    for length, unit in _UNITS:
        if abs(seconds) >= length * (2 if unit == "w" else 1):
            return f"{int(seconds // length)}{unit}"
    return "0s"


def age(timestamp: object, now: datetime) -> str:
    """Return the age of a stored timestamp; ? if it is none."""
    try:
        return span(max(0.0, (now - from_text(str(timestamp))).total_seconds()))
    except ValueError:
        return "?"


def until(timestamp: object, now: datetime) -> str:
    """Return the time that is left until a stored timestamp; ``now`` if none is, ? if it is no timestamp."""
    try:
        left = (from_text(str(timestamp)) - now).total_seconds()
    except ValueError:
        return "?"
    return span(left) if left > 0 else "now"


def percent(completeness: object) -> str:
    """Return a completeness as a percentage; ? if it is none. It is 100 % only if the job is complete."""
    if not isinstance(completeness, (int, float)) or completeness != completeness:
        return "?"
    return f"{int(min(max(completeness, 0), 1) * 100)}%"


def print_json(value: Any) -> None:
    """Print one JSON document over several lines, for commands that have one result."""
    click.echo(json.dumps(value, indent=4))


def print_json_line(value: Any) -> None:
    """Print one JSON document in one line, for commands that process many jobs."""
    click.echo(json.dumps(value))


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 job``, ``1,234 jobs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def described(entry: object, now: datetime | None = None) -> str:
    """Describe a queue's pause by its entry: since when (with ``now``: its age), by whom and why."""
    known = entry if isinstance(entry, dict) else {}
    since = known.get("since")
    when = f"since {since}" if now is None else f"{age(since, now)} ago"
    by = f" by {known['by']}" if known.get("by") else ""
    return f"{when}{by}: {known['reason']}" if known.get("reason") else f"{when}{by}"


LIST = "ls"


class ListingGroup(click.Group):
    """A command group whose default command is ``ls``: ``zerog workers myapp:app`` lists the workers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert ``ls`` unless the first argument is a command or asks for help."""
        if not args or (args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx)):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


def operator() -> str:
    """Return the caller of a command, for other operators to see: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
