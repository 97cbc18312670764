"""What ``zerog top`` shows of an app at one moment: as JSON values, of a bounded number of jobs."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine.transitions import ready_since
from zerog.maintenance.rates import to_json
from zerog.records.job import QUEUED, RUNNING, SCHEDULED
from zerog.records.operations import Document
from zerog.support.clock import from_text, to_text

if TYPE_CHECKING:
    from zerog.app import App

MINUTES = 30
"""Minutes whose rates are shown."""

RUNNING_SHOWN = 100
"""Running jobs that are read."""

WAITING_SHOWN = 5
"""Waiting jobs that are read: the oldest."""

SAMPLES = 10
"""Looks at a job from which its rate is computed, at most."""


class Watch:
    """Looks at an app again and again, and remembers how far each running job was."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._seen: dict[str, deque[tuple[float, float]]] = {}

    def look(self) -> dict[str, Any]:
        """Return everything that is shown. Raises the errors of the datastore."""
        app, find = self._app, self._app.datastore.find
        now = app.engine.now()
        heads = find(FindQuery(RUNNING, limit=RUNNING_SHOWN)).heads
        running = [self._running(head, now) for head in sorted(heads, key=lambda head: str(head.get("startedAt")))]
        self._seen = {job["uuid"]: self._seen[job["uuid"]] for job in running if job["uuid"] in self._seen}
        waiting = find(FindQuery(QUEUED, order=OLDEST, limit=WAITING_SHOWN)).heads
        counts = {status: app.count(status=status) for status in (RUNNING, QUEUED, SCHEDULED)}
        return {
            "time": to_text(now),
            "jobs": {status: {"number": each.number, "isCapped": each.is_capped} for status, each in counts.items()},
            "running": running,
            "waiting": [self._waiting(head, now) for head in waiting],
            "queues": app.fleet.queues(),
            "workers": app.workers(),
            "rates": [to_json(each) for each in app.rates(MINUTES)],
        }

    def _running(self, head: Document, now: datetime) -> dict[str, Any]:
        progress: dict[str, Any] = {**self._app.registry.progress(head, now)}
        owner = head.get("owner")
        rate = self._rate(progress, now)
        left = (1 - progress["completeness"]) / rate if rate else None
        worker = owner.get("worker") if isinstance(owner, dict) else None
        return {**progress, "worker": worker, "rate": rate, "secondsLeft": left}

    def _rate(self, progress: dict[str, Any], now: datetime) -> float | None:
        """Return a job's completeness a second: by the last looks if it moved, else since its start; or None."""
        done, uuid = progress["completeness"], progress["uuid"]
        if type(done) not in (int, float) or not 0 < done < 1:
            return None
        samples = self._seen.setdefault(uuid, deque(maxlen=SAMPLES))
        samples.append((now.timestamp(), done))
        (first, at_first), (last, at_last) = samples[0], samples[-1]
        if last > first and at_last > at_first:
            return float((at_last - at_first) / (last - first))
        seconds = _seconds_since(progress["startedAt"], now)
        return float(done / seconds) if seconds and progress["attempts"] == 1 else None

    def _waiting(self, head: Document, now: datetime) -> dict[str, Any]:
        return {**self._app.registry.progress(head, now), "secondsWaited": _seconds_since(ready_since(head), now)}


def _seconds_since(timestamp: object, now: datetime) -> float | None:
    try:
        return max(0.0, (now - from_text(str(timestamp))).total_seconds())
    except ValueError:
        return None
