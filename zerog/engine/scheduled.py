"""Jobs that schedules submitted: which of them must stay, so that no tick gets a second job.

The uuid of such a job follows from the schedule's name and its tick, and its document is all that keeps a repetition
from creating it again.
"""

from __future__ import annotations

from typing import Any

from zerog.exceptions import CorruptDocument
from zerog.records.job import Document
from zerog.records.keys import schedule_key
from zerog.support.clock import text_after, to_text

SETTLED = 3600.0
"""Seconds after its end for which retention leaves such a job: a process that stood still may create it that late."""


def why_tick_kept(engine: Any, head: Document) -> str | None:
    """Return why a job that a schedule submitted can't be removed by anybody yet; None if it can, or for others."""
    tick, schedule = _of(head)
    if not tick:
        return None
    last = _last_tick(engine, schedule)
    return None if last is None or last >= tick else f"schedule {schedule} has not noted it yet; a sweep does so"


def without_latest(engine: Any, heads: list[Document]) -> list[Document]:
    """Return the heads without those of schedules that retention leaves: the latest of each, and what ended lately."""
    noted: dict[str, str | None] = {}
    recent = text_after(to_text(engine.now()), -SETTLED)
    left = []
    for head in heads:
        tick, schedule = _of(head)
        if tick and schedule not in noted:
            noted[schedule] = _last_tick(engine, schedule)
        last = noted.get(schedule) if tick else None
        if last is None or (last > tick and str(head.get("finishedAt")) < recent):
            left.append(head)
    return left


def _of(head: Document) -> tuple[str, str]:
    """Return the tick and the schedule of a job; two empty texts if no schedule submitted it."""
    scheduled = head.get("scheduledBy")
    tick, name = (scheduled.get("tick"), scheduled.get("name")) if isinstance(scheduled, dict) else (None, None)
    return (tick, name) if type(tick) is str and type(name) is str else ("", "")


def _last_tick(engine: Any, name: str) -> str | None:
    """Return the latest tick that a schedule has noted, "" for none; None if there is no such schedule any more."""
    try:
        fields = engine.datastore.read(schedule_key(name))
    except CorruptDocument:
        return ""
    if fields is None or fields.get("removed") is not None:
        return None
    return str(fields.get("lastTick") or "")
