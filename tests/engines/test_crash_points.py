"""Every crash point, killed, failed and left without an answer, on every engine of the core."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import scenario
from zerog import crashpoints
from zerog.crashpoints import POINTS, InjectedFailure
from zerog.exceptions import AmbiguousWrite
from zerog.testing.clock import ManualClock


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    crashpoints.disarm()


def passed_by(kind: str, folder: Path) -> set[str]:
    """The points that the scenario passes on one engine, without anything going wrong."""
    engine = scenario.make_engine(kind, folder, ManualClock())
    passed: set[str] = set()
    crashpoints.watch(passed.add)
    scenario.Lives(engine, folder / "accepted").play()
    crashpoints.disarm()
    engine.close()
    return passed


def accepted_in(folder: Path) -> list[str]:
    """The uuids whose submit had returned."""
    file = folder / "accepted"
    return file.read_text().split() if file.exists() else []


SHARED = {"submit.put", "submit.mark", "claim.reserved", "claim.ack", "settle.put", "settle.mark"}
"""Points between two transactions that are one where datastore and queue share a file."""


@pytest.mark.parametrize("kind", scenario.KINDS)
def test_the_scenario_passes_every_point(kind: str, tmp_path: Path) -> None:
    """No point is listed that nothing passes, so none goes untested."""
    expected = set(POINTS) - (SHARED if kind == "sqlite" else set())
    assert passed_by(kind, tmp_path) == expected


@pytest.mark.parametrize("action", ["raise", "unknown"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", scenario.KINDS)
def test_a_failure_at_any_point_is_repaired(kind: str, point: str, action: str, tmp_path: Path) -> None:
    """Whatever step fails or loses its answer, another worker brings every accepted job to its one end."""
    if kind == "sqlite" and point in SHARED:
        pytest.skip("this engine does both steps in one transaction")
    clock = ManualClock()
    engine = scenario.make_engine(kind, tmp_path, clock)
    lives = scenario.Lives(engine, tmp_path / "accepted")
    fired = []
    crashpoints.arm(point, action)
    armed = crashpoints._hook
    crashpoints.watch(lambda name: (fired.append(name) if name == point else None, armed and armed(name))[0])
    try:
        lives.play()
    except (InjectedFailure, AmbiguousWrite, KeyError):
        pass  # the first process is gone; KeyError: a claim it needed was left to the others
    crashpoints.disarm()
    assert fired, f"{point} was not reached"
    clock.advance(5)
    scenario.recover(engine, clock)
    scenario.check(engine, accepted_in(tmp_path))
    engine.close()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", [kind for kind in scenario.KINDS if kind != "memory"])
def test_a_kill_at_any_point_is_repaired(kind: str, point: str, tmp_path: Path) -> None:
    """A process killed with SIGKILL at any step loses no accepted job and doubles no result."""
    if kind == "sqlite" and point in SHARED:
        pytest.skip("this engine does both steps in one transaction")
    command = [sys.executable, "-m", "tests.engines.scenario", kind, str(tmp_path), point, "kill"]
    killed = subprocess.run(command, capture_output=True, timeout=60, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    clock = ManualClock()
    clock.advance(10)
    engine = scenario.make_engine(kind, tmp_path, clock)
    scenario.recover(engine, clock)
    scenario.check(engine, accepted_in(tmp_path))
    engine.close()
