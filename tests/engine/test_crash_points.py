"""Every crash point, killed, failed and left without an answer, on every engine; then two of them in one history."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import zerog
from tests.engine import crash_scenario
from tests.engine.engines import KINDS, long_test
from tests.maintenance.doctors import doctor_of
from tests.preloaded import Preloaded
from zerog.engine.engine import Engine
from zerog.exceptions import AmbiguousWrite
from zerog.records.job import TERMINAL
from zerog.support import failpoints
from zerog.support.failpoints import InjectedFailure
from zerog.testing.clock import ManualClock


class OfScenario(zerog.BaseJob):
    """The type of the scenario's jobs, for readers only."""

    JOB_TYPE = "test"

    def run(self) -> None:
        raise AssertionError("this job is never run")


ROOT = Path(__file__).parents[2]

GENERIC_AGAIN = [pytest.mark.wide]
"""The generic engine passes these points in memory by default."""

EACH = [(kind, point) for kind in KINDS for point in KINDS[kind].points]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


@pytest.fixture(scope="module")
def python() -> Iterator[Preloaded]:
    """A Python that has loaded what the scenario needs."""
    made = Preloaded(modules=["tests.engine.engines", "zerog.maintenance.reconcile", "zerog.testing.contracts.engine"])
    yield made
    made.close()


def passed_by(kind: str, folder: Path) -> set[str]:
    """The points that the scenario passes on one engine, without any fault."""
    engine = KINDS[kind].open(folder, ManualClock())
    passed: set[str] = set()
    failpoints.watch(passed.add)
    crash_scenario.Lives(engine, folder / "accepted").play()
    failpoints.disarm()
    engine.close()
    return passed


def accepted_in(folder: Path) -> list[str]:
    """The uuids whose submit had returned, without those whose discard had begun."""
    file = folder / "accepted"
    lines = file.read_text().split() if file.exists() else []
    return [line for line in lines if f"-{line}" not in lines and not line.startswith("-")]


def cut_off(engine: Engine) -> set[str]:
    """The jobs that don't end any more unless they are repaired."""
    heads = [head for head in crash_scenario.enqueued(engine) if head["status"] not in TERMINAL]
    return {head["uuid"] for head in heads if head["owner"] is not None or head["queueState"] == "pending"}


def named_by_doctor(engine: Engine) -> set[str]:
    """The jobs that the doctor names."""
    app = zerog.App(datastore=engine.datastore, queue=engine.queue, clock=engine.clock)
    app.register(OfScenario)
    return {uuid for finding in doctor_of(app).examine().findings for uuid in finding.jobs}


class Faults:
    """Arms points one after the other, and records which were reached."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        self.left = list(faults)
        self.fired: list[str] = []
        failpoints.watch(self.reached)

    def reached(self, name: str) -> None:
        if not self.left or name != self.left[0][0]:
            return
        action = self.left.pop(0)[1]
        self.fired.append(name)
        if action == "raise":
            raise InjectedFailure(name)
        raise AmbiguousWrite(f"{name}: the answer was lost")


def play(lives: crash_scenario.Lives) -> None:
    try:
        lives.play()
    except (InjectedFailure, AmbiguousWrite, KeyError):
        pass  # that process is gone; KeyError: a claim it needed was left to other workers


def check_recovery(kind: str, folder: Path, faults: Faults) -> None:
    """Lives with faults, a worker that meets those that are left, and a healthy one that ends all jobs."""
    clock = ManualClock()
    engine = KINDS[kind].open(folder, clock)
    play(crash_scenario.Lives(engine, folder / "accepted"))
    clock.advance(5)
    while faults.left:
        before = len(faults.left)
        try:
            crash_scenario.recover(engine, clock)
            break
        except (InjectedFailure, AmbiguousWrite):
            assert len(faults.left) < before
    failpoints.disarm()
    clock.advance(31)
    crash_scenario.recover(engine, clock)
    crash_scenario.check(engine, accepted_in(folder))
    engine.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scenario_passes_every_point(kind: str, tmp_path: Path) -> None:
    """No point is listed that is never passed, so none is untested."""
    assert passed_by(kind, tmp_path) == set(KINDS[kind].points)


@pytest.mark.parametrize("action", ["raise", "unknown"])
@pytest.mark.parametrize(
    ("kind", "point"),
    [pytest.param(*each, marks=GENERIC_AGAIN if each[0] == "two-files" else KINDS[each[0]].marks) for each in EACH],
)
def test_a_failure_at_any_point_is_repaired(kind: str, point: str, action: str, tmp_path: Path) -> None:
    """Whatever step fails or loses its answer, another worker runs every accepted job to its one end."""
    faults = Faults((point, action))
    check_recovery(kind, tmp_path, faults)
    assert faults.fired == [point]


@pytest.mark.parametrize(("kind", "point"), [long_test(kind, point) for kind, point in EACH if KINDS[kind].outlives])
@pytest.mark.wide
def test_a_kill_at_any_point_is_repaired(kind: str, point: str, python: Preloaded, tmp_path: Path) -> None:
    """A process killed with SIGKILL at any step loses no accepted job and doubles no result."""
    KINDS[kind].open(tmp_path, ManualClock()).close()  # a server that this needs must not be the killed one's
    killed = python.run("-m", "tests.engine.crash_scenario", kind, str(tmp_path), point, "kill", folder=ROOT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    clock = ManualClock()
    clock.advance(10)
    engine = KINDS[kind].open(tmp_path, clock)
    assert cut_off(engine) <= named_by_doctor(engine)
    crash_scenario.recover(engine, clock)
    crash_scenario.check(engine, accepted_in(tmp_path))
    assert named_by_doctor(engine) == set()
    engine.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.wide
def test_two_faults_in_one_history_are_repaired(kind: str, tmp_path: Path) -> None:
    """Also the second step that fails, of the same worker or of the repairing one, loses and doubles nothing.

    About each 37th pair, so that each step is the first and the second that fails.
    """
    actions = ("raise", "unknown")
    single = [(point, action) for point in KINDS[kind].points for action in actions]
    pairs = list(itertools.product(single, single))[::37]
    assert all({pair[turn] for pair in pairs} == set(single) for turn in (0, 1))
    both = 0
    for number, pair in enumerate(pairs):
        folder = tmp_path / str(number)
        folder.mkdir()
        faults = Faults(*pair)
        check_recovery(kind, folder, faults)
        both += len(faults.fired) == 2
    print(f"{kind}: {len(pairs)} pairs, both reached in {both}")
    assert both > len(pairs) / 3
