"""Two deaths in one history: a process killed at one crash point, and the one that repairs after it at another.

Both are killed with SIGKILL and never run a line more. Not on memory: documents there die with the process, so that
nothing is left to repair; pairs of failures without a death are in ``test_crash_points`` for it, too.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from math import gcd
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engine import crash_scenario
from tests.engine.engines import KINDS
from tests.engine.test_crash_points import accepted_in
from tests.forks import in_a_fork
from zerog.engine.transitions import WorkerIdentity
from zerog.records.job import TERMINAL
from zerog.support import failpoints
from zerog.testing.clock import ManualClock

KILLED = -9


class Death(NamedTuple):
    """A crash point, and how often it is passed before."""

    point: str
    skip: int = 0


def clock_of(life: int) -> ManualClock:
    """Each life begins long after the one before: leases are over, reserved entries are back."""
    clock = ManualClock()
    clock.advance(life * 10_000)
    return clock


def live(kind: str, folder: Path, life: int, death: Death) -> None:
    """End the jobs that are left, then live one life, and die on the way."""
    failpoints.arm(death.point, "kill", death.skip)
    clock = clock_of(life)
    engine = KINDS[kind].open(folder, clock)
    if life:
        crash_scenario.recover(engine, clock, WorkerIdentity(f"{life}", 30.0))
    (folder / f"recovered-{life}").touch()
    crash_scenario.Lives(engine, folder / "accepted").play()


def check_pair(kind: str, folder: Path, pair: tuple[Death, Death]) -> bool:
    """Return True if the second process died while it repaired what the first had left, and not in its own life."""
    folder.mkdir()
    for life, death in enumerate(pair):
        status = in_a_fork(lambda life=life, death=death: live(kind, folder, life, death))
        # What an earlier life has done this one may do less often, and so not come to a later pass; and while a killed
        # run's slot is taken, jobs are parked that would otherwise be woken.
        may_end = death.skip or death.point.startswith("limit.")
        assert status == KILLED or (status == 0 and life and may_end), pair
    clock = clock_of(2)
    engine = KINDS[kind].open(folder, clock)
    try:
        crash_scenario.recover(engine, clock, WorkerIdentity("last", 30.0, knows=crash_scenario.KNOWN))
        crash_scenario.check(engine, accepted_in(folder))
        assert {head["status"] for head in crash_scenario.enqueued(engine)} <= set(TERMINAL)
    except AssertionError as error:
        raise AssertionError(f"killed at {pair[0]}, then at {pair[1]}: {error}") from error
    finally:
        engine.close()
    return not (folder / "recovered-1").exists()


def check_pairs(
    kind: str, folder: Path, pairs: list[tuple[Death, Death]], capsys: pytest.CaptureFixture[str], note: str = ""
) -> None:
    died = Counter(check_pair(kind, folder / f"{number}", pair) for number, pair in enumerate(pairs))
    with capsys.disabled():
        print(f"\n{kind}: {len(pairs)} pairs of kills, {died[True]} of them inside a repair{note}; lost 0, doubled 0")
    assert died[True] > len(pairs) / 15


@pytest.mark.parametrize("step", [43, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(7_200)])])
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "two-files", "beanstalkd"])
@pytest.mark.wide
def test_any_two_kills_lose_nothing(kind: str, step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every ordered pair of an engine's points, the same one twice, too; two of the engines do a verb in one write.

    The wide run takes about each 43rd of them, so that each point is first and second.
    """
    KINDS[kind].open(tmp_path, ManualClock()).close()  # a server that this needs must not be a killed one's
    points = [Death(point) for point in KINDS[kind].points]
    while gcd(step, len(points)) > 1:
        step += 1
    pairs = list(itertools.product(points, points))[::step]
    assert all({pair[turn] for pair in pairs} == set(points) for turn in (0, 1))
    check_pairs(kind, tmp_path, pairs, capsys)


@pytest.mark.parametrize("number", [30, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.wide
def test_random_pairs_of_kills_lose_nothing(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents and queue in two files, so in several writes; points are also meant at later passes."""
    seed = 20_260_101
    chance = random.Random(seed)
    passed = turns("two-files", tmp_path / "whole")
    deaths = [Death(point, skip) for point, times in passed.items() for skip in range(times)]
    pairs = [(chance.choice(deaths), chance.choice(deaths)) for _ in range(number)]
    check_pairs("two-files", tmp_path, pairs, capsys, f", seed {seed}")


def turns(kind: str, folder: Path) -> Counter[str]:
    """How often each point is passed by a life without a death."""
    folder.mkdir()
    passed: Counter[str] = Counter()
    engine = KINDS[kind].open(folder, ManualClock())
    failpoints.watch(lambda name: passed.update([name]))
    crash_scenario.Lives(engine, folder / "accepted").play()
    failpoints.disarm()
    engine.close()
    return passed
