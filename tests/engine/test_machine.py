"""Random lives of jobs over every engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.engine.engines import KINDS, long_test
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.engine import Engine
from zerog.testing.chaos import ChaosQueue
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine.machine import engine_machine


def explore(new_engine: Callable[[ManualClock, int], Engine], examples: int) -> None:
    run_state_machine_as_test(
        engine_machine(new_engine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize(("kind", "examples"), [*(long_test(kind, 60) for kind in KINDS), *wide(("memory", 300))])
def test_random_lives(kind: str, examples: int, tmp_path: Path) -> None:
    """Whatever order things happen in, the promises hold and every accepted job ends."""
    numbers = itertools.count()

    def new_engine(clock: ManualClock, seed: int) -> Engine:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return KINDS[kind].open(folder, clock)

    explore(new_engine, examples)


@pytest.mark.parametrize("examples", [60, *wide(300)])
def test_random_lives_with_a_queue_that_misbehaves(examples: int) -> None:
    """The same with a queue that loses, repeats, delays and reorders."""
    explore(lambda clock, seed: Engine(MemoryDatastore(), ChaosQueue(MemoryQueue(clock=clock), seed), clock), examples)
