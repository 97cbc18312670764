"""The named places at which tests kill the process, raise or lose an answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.forks import in_a_fork
from zerog.exceptions import AmbiguousWrite
from zerog.support import failpoints
from zerog.support.failpoints import POINTS, InjectedFailure, arm, disarm, failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    disarm()


@pytest.mark.parametrize(
    ("name", "action", "named"), [("claim.writen", "kill", "claim.writen"), ("claim.write", "die", "'die'")]
)
def test_a_misspelt_point_or_action_is_refused(name: str, action: str, named: str) -> None:
    """Otherwise a test that injects nothing would pass."""
    with pytest.raises(ValueError, match=named):
        arm(name, action)


@pytest.mark.parametrize(("action", "error"), [("raise", InjectedFailure), ("unknown", AmbiguousWrite)])
def test_an_armed_point_acts_once_at_its_turn(action: str, error: type[Exception]) -> None:
    """Not at another point, not before, and not again."""
    arm("settle.write", action, skip=2)
    for _ in range(2):
        failpoint("settle.write")
        failpoint("settle.written")
    with pytest.raises(error, match=r"settle\.write"):
        failpoint("settle.write")
    for name in POINTS:
        failpoint(name)


def test_a_kill_is_one() -> None:
    """Nothing of the process runs on, not even its exit handlers."""

    def live() -> None:
        arm("claim.write", "kill")
        failpoint("claim.write")

    assert in_a_fork(live) == -signal.SIGKILL


def test_a_kill_hits_this_process_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hit: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        hit.append((pid, number))
        raise SystemExit

    monkeypatch.setattr(failpoints.os, "kill", kill)
    arm("claim.write", "kill")
    with pytest.raises(SystemExit):
        failpoint("claim.write")
    assert hit == [(os.getpid(), signal.SIGKILL)]
