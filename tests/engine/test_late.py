"""What is too late, on every engine: deliveries of jobs that need none, and runs that end after a takeover."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import KINDS, long_test
from tests.processes import stretched
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import Document, make_key, new_document
from zerog.records.operations import Set
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

LATE, OTHER = WorkerIdentity("late", 30.0), WorkerIdentity("other", 30.0)

ROUNDS = 200


@pytest.fixture(params=[long_test(kind) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(kind: str, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
    made = KINDS[kind].open(tmp_path, clock)
    yield made
    failpoints.disarm()
    made.close()


def submit(engine: Engine) -> str:
    document = new_document("test", 1.0, to_text(engine.clock.now()))
    engine.submit([document])
    return str(document["uuid"])


def claim(engine: Engine, worker: WorkerIdentity = LATE) -> list[Claim]:
    return engine.claim(10, worker, lambda head: head["jobType"])


# deliveries


def succeed(engine: Engine, uuid: str) -> None:
    engine.settle([Settlement(mine, "finish", 1, 200) for mine in claim(engine)])


def fail(engine: Engine, uuid: str) -> None:
    engine.settle([Settlement(mine, "finish", 1, 500) for mine in claim(engine)])


def cancel_waiting(engine: Engine, uuid: str) -> None:
    engine.cancel(uuid)
    assert claim(engine) == []  # takes the delivery that is there from the submission
    engine.counters.clear()


def cancel_running(engine: Engine, uuid: str) -> None:
    [mine] = claim(engine)
    engine.cancel(uuid)
    engine.settle([Settlement(mine, "finish", 1, 410, status="cancelled")])


def delete(engine: Engine, uuid: str) -> None:
    claim(engine)
    engine.datastore.delete(make_key(uuid))


@pytest.mark.parametrize(
    ("end", "counter"),
    [
        (succeed, "dropped.succeeded"),
        (fail, "dropped.failed"),
        (cancel_waiting, "dropped.cancelled"),
        (cancel_running, "dropped.cancelled"),
        (delete, "dropped.unknown"),
    ],
)
def test_a_delivery_after_the_end_runs_nothing(
    end: Callable[[Engine, str], None], counter: str, engine: Engine, clock: ManualClock
) -> None:
    """However the job ended, a later delivery is dropped and counted, and the document stays as it is."""
    uuid = submit(engine)
    end(engine, uuid)
    before = engine.datastore.read_with_cas(make_key(uuid))
    for times in range(1, 4):
        engine.queue.put(uuid)
        clock.advance(100)
        assert claim(engine, OTHER) == []
        assert engine.counters[counter] == times
        assert engine.queue.size() == 0
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(5):
        assert not reconciler.sweep()
        clock.advance(20)
    assert claim(engine, OTHER) == []
    assert engine.datastore.read_with_cas(make_key(uuid)) == before


# a run that is alive, but late


class Paused:
    """Settles in a separate thread, which stands still at a crash point until it is let go. Use as ``with``."""

    def __init__(self, engine: Engine, settlement: Settlement, point: str) -> None:
        self._engine = engine
        self._settlement = settlement
        self._point = point
        self._there, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._settle)
        self._answer: list[Any] = []

    def __enter__(self) -> Paused:
        failpoints.watch(self._reached)
        self._thread.start()
        assert self._there.wait(stretched(10)), f"{self._point} was not reached"
        return self

    def __exit__(self, *_exception: object) -> None:
        self.let_go()

    def let_go(self) -> bool:
        """Let it settle; return what the engine answered."""
        self._go.set()
        self._thread.join(stretched(10))
        assert not self._thread.is_alive()
        failpoints.disarm()
        [answer] = self._answer
        return bool(answer)

    def _reached(self, name: str) -> None:
        if name == self._point and threading.current_thread() is self._thread:
            self._there.set()
            assert self._go.wait(20)

    def _settle(self) -> None:
        self._answer += self._engine.settle([self._settlement])


def take_over(engine: Engine, clock: ManualClock, reconciler: Reconciler, uuid: str) -> Document:
    """The late one's worker is silent: the job is rescued, and another worker runs it to its end."""
    while not (claims := claim(engine, OTHER)):
        reconciler.sweep()
        clock.advance(16)
    [theirs] = claims
    assert theirs.uuid == uuid
    assert engine.settle([Settlement(theirs, "finish", 1, 201, operations=[Set("output", "theirs")])]) == [True]
    stored = engine.datastore.read(theirs.key)
    assert stored is not None
    return stored


def test_a_run_that_is_late_at_its_end_changes_nothing(
    engine: Engine, clock: ManualClock, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands still with its outcome in hand, another worker finishes the job; then it continues and is refused."""
    reconciler = Reconciler(engine, "sweeper", clock)
    for number in range(ROUNDS):
        uuid = submit(engine)
        [mine] = claim(engine)
        way_out = ("finish", "requeue", "release")[number % 3]
        outcome = Settlement(mine, way_out, 1, 200 if way_out == "finish" else -1, operations=[Set("output", "mine")])
        with Paused(engine, outcome, "settle.write") as late:
            ended = take_over(engine, clock, reconciler, uuid)
            assert not late.let_go()
        assert (ended["status"], ended["output"], ended["attempts"], ended["lost"]) == ("succeeded", "theirs", 2, 1)
        assert engine.datastore.read(mine.key) == ended
    assert engine.counters["settle.lost"] == ROUNDS
    assert engine.queue.size() == 0
    with capsys.disabled():
        print(f"\n{kind}: {ROUNDS} runs that were late at their end; double effects 0")


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        pytest.param(kind, point, marks=made.marks)
        for kind, made in KINDS.items()
        for point in [point for point in made.points if point in ("settle.put", "settle.mark")]
    ],
)
def test_a_run_that_is_late_between_outcome_and_queue_changes_nothing(
    engine: Engine, clock: ManualClock, point: str
) -> None:
    """Its requeue is stored and not yet queued: reconcile puts it, another run ends it, and its own put is stale."""
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(20):
        uuid = submit(engine)
        [mine] = claim(engine)
        with Paused(engine, Settlement(mine, "requeue", 1), point) as late:
            ended = take_over(engine, clock, reconciler, uuid)
            assert late.let_go(), "the run did own its job when it gave it back"
        assert (ended["output"], ended["attempts"], ended["lost"]) == ("theirs", 2, 0)
        assert claim(engine, OTHER) == []
        assert engine.datastore.read(mine.key) == ended
    assert engine.queue.size() == 0
