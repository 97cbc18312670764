"""How commands tell of a paused queue."""

from __future__ import annotations

from datetime import datetime

from zerog.cli.output import age


def described(entry: object, now: datetime | None = None) -> str:
    """Since when (at ``now``: how long ago), by whom and why a queue was paused, as its entry says."""
    known = entry if isinstance(entry, dict) else {}
    since = known.get("since")
    when = f"since {since}" if now is None else f"{age(since, now)} ago"
    by = f" by {known['by']}" if known.get("by") else ""
    return f"{when}{by}: {known['reason']}" if known.get("reason") else f"{when}{by}"
