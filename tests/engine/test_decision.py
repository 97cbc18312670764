"""The decision about a delivery, by the head of its job and the time."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.engine.decision import EARLY, LONGEST_EARLY, Drop, Later, Run, Stop, decide
from zerog.exceptions import CorruptDocument
from zerog.records.fields import NEW
from zerog.records.job import RUNNING, TERMINAL, WAITING, new_document
from zerog.support.clock import text_after

NOW = "2026-01-02T03:04:05.000000+00:00"


def head(**fields: Any) -> dict[str, Any]:
    return {**new_document("test", 1.0, NOW), "status": "queued", **fields}


def test_a_delivery_without_a_document_is_dropped() -> None:
    assert decide(None, NOW) == Drop("dropped.unknown")


@pytest.mark.parametrize("status", [NEW, RUNNING, *TERMINAL])
def test_what_does_not_wait_is_dropped(status: str) -> None:
    """Also if it was cancelled, or is not due."""
    later = text_after(NOW, 100)
    assert decide(head(status=status, cancelRequested=NOW, notBefore=later), NOW) == Drop(f"dropped.{status}")


@pytest.mark.parametrize("status", WAITING)
def test_what_was_cancelled_ends_even_before_its_time(status: str) -> None:
    assert decide(head(status=status, cancelRequested=NOW, notBefore=text_after(NOW, 100)), NOW) == Stop()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, Run()),
        (-100, Run()),
        (0, Run()),
        (EARLY, Run()),
        (1, Later(1)),
        (LONGEST_EARLY + 1, Later(LONGEST_EARLY)),
        (10**9, Later(LONGEST_EARLY)),
    ],
)
def test_what_waits_runs_once_it_is_due(seconds: float | None, expected: Any) -> None:
    """A wrong clock delays a job for a minute at a time, not for ever."""
    due = None if seconds is None else text_after(NOW, seconds)
    assert decide(head(status="scheduled" if due else "queued", notBefore=due), NOW) == expected


@pytest.mark.parametrize("damage", ["tomorrow", 7, [NOW]])
def test_a_time_that_makes_no_sense_is_an_error(damage: object) -> None:
    with pytest.raises(CorruptDocument, match="notBefore"):
        decide(head(notBefore=damage), NOW)
