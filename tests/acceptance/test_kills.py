"""Workers killed with SIGKILL in the middle of their work, and the books afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.kills import KillRun, Plan
from tests.marks import wide

BOTH = ("thread", "process")


def check(plan: Plan, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every result is there, right, and written once; prints the table."""
    books = KillRun(folder, plan).run()
    with capsys.disabled():
        print(f"\n{books.table()}")
    assert (books.lost, books.failed, books.wrong, books.missing) == (0, 0, [], 0)
    assert books.cut_off > 0, "no kill hit a running job; the test shows nothing"
    assert books.runs == plan.jobs + books.cut_off


@pytest.mark.parametrize(
    "plan",
    [
        Plan(600, 6, ("thread", "thread")),
        *wide(Plan(2_000, 20, ("thread", "thread")), Plan(600, 6, ("process", "process"))),
    ],
    ids=["thread", "thread-longer", "process"],
)
def test_killed_workers_lose_nothing(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers, one of which is killed again and again."""
    check(plan, tmp_path, capsys)


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same with 10,000 jobs, threads beside child processes."""
    check(Plan(10_000, 100, BOTH), tmp_path, capsys)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same with 100,000 jobs."""
    check(Plan(100_000, 1_000, BOTH), tmp_path, capsys)
