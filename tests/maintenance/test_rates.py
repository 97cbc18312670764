"""Rates: whatever sweepers and workers do and whenever they die, the sum is what was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.engine.engines import EACH_KIND, KINDS
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, InvalidValue
from zerog.fleet.heartbeat import WorkerRecords, worker_key
from zerog.maintenance.rates import keep_rates, rates
from zerog.records.job import new_document
from zerog.records.keys import HOUR, MINUTE, RATES, RETIRED_RATES, Role, stored_keys
from zerog.records.operations import Set
from zerog.records.periods import HOURS, MINUTES
from zerog.records.rates import MAX_TYPES, OTHER
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.worker.runs import Tally


class Crew:
    """Workers of one engine, by name, and the ledger of what they ran."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.ledger: Counter[tuple[str, str]] = Counter()
        self.tallies: dict[str, Tally] = {}
        self.beats: Counter[str] = Counter()

    def start(self, name: str) -> None:
        """Start a worker, or another one of the same name."""
        self.tallies[name] = Tally(self.engine.datastore)
        self.beats[name] = 0
        self.beat(name)

    def ran(
        self, name: str, count: int = 1, job_type: str = "a", outcome: str = "succeeded", seconds: float = 2
    ) -> None:
        """Have a worker run jobs that waited for half a minute."""
        for _ in range(count):
            now = to_text(self.clock.now())
            queued = to_text(self.clock.now() - timedelta(seconds=30))
            head = {**new_document(job_type, 1.0, now), "queuedAt": queued, "startedAt": now}
            settlement = Settlement(claim_of(head), "finish", 1, 200, seconds=seconds)
            self.tallies[name].settled([settlement], [outcome])
            self.ledger[job_type, outcome] += 1

    def beat(self, name: str) -> None:
        """Renew a worker's record."""
        tally = self.tallies[name]

        def first() -> dict[str, Any]:
            tally.begin_anew()
            return {}

        def details() -> dict[str, Any]:
            return {"renewedAt": to_text(self.clock.now()), "rates": tally.to_record()}

        worker = WorkerIdentity(name, 30.0)
        self.beats[name] = WorkerRecords(self.engine).renew(worker, self.beats[name] + 1, details, first)

    def shown(self, count: int = MINUTES.kept, hourly: bool = False) -> Counter[tuple[str, str]]:
        """Return the sum of all rates, as the ledger has them."""
        found: Counter[tuple[str, str]] = Counter()
        for each in rates(self.engine, count, hourly):
            for job_type, shown in each.types.items():
                found.update({(job_type, outcome): number for outcome, number in shown.runs.items()})
        return found


def claim_of(head: dict[str, Any]) -> Any:
    """Return a claim with this head."""
    return Claim("key", head["uuid"], 1, "nonce", 1, head)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def crew(clock: ManualClock, tmp_path: Path) -> Iterator[Crew]:
    engine = KINDS["memory"].open(tmp_path, clock)
    yield Crew(engine, clock)
    engine.close()


@pytest.mark.parametrize("kind", EACH_KIND)
def test_minutes_and_hours_add_up_to_what_was_run(kind: str, clock: ManualClock, tmp_path: Path) -> None:
    """On every datastore: by type and outcome, with the seconds run and waited."""
    engine = KINDS[kind].open(tmp_path, clock)
    crew = Crew(engine, clock)
    crew.start("alice")
    crew.start("bob")
    for minute in range(4):
        crew.ran("alice", minute + 1)
        crew.ran("bob", 2, "b", "failed", seconds=0.5)
        crew.beat("alice")
        crew.beat("bob")
        clock.advance(60)
        keep_rates(engine)
    assert crew.shown() == crew.shown(2, hourly=True) == crew.ledger
    last = rates(engine, 3)[-2]
    assert (last.total, last.types["a"].runs, last.types["b"].runs) == (6, {"succeeded": 4}, {"failed": 2})
    assert (last.types["a"].seconds_run, last.types["a"].seconds_waited) == (8.0, 120.0)
    assert (last.types["a"].waited[4], sum(last.types["a"].waited)) == (4, 4)
    assert [each.total for each in rates(engine, 5)] == [3, 4, 5, 6, 0]
    engine.close()


def test_the_current_minute_is_shown_before_any_sweep(crew: Crew) -> None:
    crew.start("alice")
    crew.ran("alice", 3)
    crew.beat("alice")
    assert [each.total for each in rates(crew.engine, 2)] == [0, 3]
    crew.clock.advance(7 * 60)
    assert [each.total for each in rates(crew.engine, 9)] == [0, 3, 0, 0, 0, 0, 0, 0, 0], "where its beat was"


def test_two_sweepers_count_once(crew: Crew) -> None:
    """Both keep the same minute; the one that was slower finds it there, whatever it has read before."""
    crew.start("alice")
    for _ in range(5):
        crew.ran("alice", 2)
        crew.beat("alice")
        crew.clock.advance(60)
        for _sweeper in ("first", "second"):
            keep_rates(crew.engine)
    assert crew.shown() == crew.ledger


def test_a_sweeper_that_stood_still_counts_nothing_twice(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read the figures, stands still while another one goes on, and then keeps what it has read."""
    crew.start("alice")
    crew.ran("alice", 2)
    crew.beat("alice")
    crew.clock.advance(60)
    create, waiting = crew.engine.datastore.create, True

    def late(key: str, document: dict[str, Any]) -> int:
        nonlocal waiting
        if waiting:
            waiting = False
            for _ in range(3):
                crew.ran("alice", 3)
                crew.beat("alice")
                crew.clock.advance(60)
                keep_rates(crew.engine)
        return create(key, document)

    monkeypatch.setattr(crew.engine.datastore, "create", late)
    keep_rates(crew.engine)
    crew.ran("alice", 1)
    crew.beat("alice")
    crew.clock.advance(60)
    keep_rates(crew.engine)
    assert crew.shown() == crew.shown(5) == crew.ledger


@pytest.mark.parametrize(("verb", "key"), [("create", MINUTE), ("create", HOUR), ("set_with_cas", RATES)])
def test_a_sweeper_killed_between_its_writes_counts_nothing_twice(
    crew: Crew, verb: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a minute or an hour is kept, and after it is kept and not noted."""
    crew.start("alice")
    genuine = getattr(crew.engine.datastore, verb)

    def die(written: str, *values: Any) -> Any:
        if written.startswith(key) and not (key == RATES and written.startswith(f"{RATES}_")):
            raise KeyboardInterrupt
        return genuine(written, *values)

    for minute in range(8):
        crew.ran("alice", 2)
        crew.beat("alice")
        crew.clock.advance(60 if minute < 4 and key != HOUR else 3_600)
        if minute % 2:
            with monkeypatch.context() as patch:
                patch.setattr(crew.engine.datastore, verb, die)
                with pytest.raises(KeyboardInterrupt):
                    keep_rates(crew.engine)
        else:
            keep_rates(crew.engine)
    keep_rates(crew.engine)
    assert crew.shown() == crew.shown(60, hourly=True) == crew.ledger


def test_the_last_beat_of_a_killed_worker_counts_once(crew: Crew) -> None:
    """What came after it is not known to anybody; its record may be removed twice."""
    crew.start("alice")
    crew.ran("alice", 4)
    crew.beat("alice")
    keep_rates(crew.engine)
    killed = crew.engine.datastore.read(worker_key("alice"))
    for _ in range(2):
        WorkerRecords(crew.engine).forget("alice")
        crew.clock.advance(60)
        keep_rates(crew.engine)
        crew.engine.datastore.set(worker_key("alice"), killed)  # as if the first removal had been cut off
    WorkerRecords(crew.engine).forget("alice")
    assert crew.shown() == crew.ledger


def test_a_restart_under_the_same_name_goes_on_counting(crew: Crew) -> None:
    """The new worker's record replaces that of the killed one, whose figures stay."""
    for _ in range(3):
        crew.start("alice")
        crew.ran("alice", 5)
        crew.beat("alice")
        crew.clock.advance(20)
    keep_rates(crew.engine)
    assert crew.shown() == crew.ledger == {("a", "succeeded"): 15}


def test_a_worker_that_was_taken_for_dead_returns(crew: Crew) -> None:
    """What its removed record held is counted there, what it did since in its new one."""
    crew.start("alice")
    crew.ran("alice", 5)
    crew.beat("alice")
    WorkerRecords(crew.engine).forget("alice")
    crew.ran("alice", 3)
    crew.beat("alice")
    crew.clock.advance(60)
    keep_rates(crew.engine)
    crew.ran("alice", 1)
    WorkerRecords(crew.engine).forget("alice", crew.tallies["alice"].to_record())
    assert crew.shown() == crew.ledger == {("a", "succeeded"): 9}


def test_many_workers_that_come_and_go_leave_a_small_document(crew: Crew) -> None:
    """A record for each delivery, as under RQ: all are counted, and a hundred of them kept apart."""
    for number in range(150):
        crew.start(f"single-{number}")
        crew.ran(f"single-{number}")
        WorkerRecords(crew.engine).forget(f"single-{number}", crew.tallies[f"single-{number}"].to_record())
        crew.clock.advance(1)
    document = crew.engine.datastore.read(RETIRED_RATES)
    assert document is not None and len(document["lives"]) == 100
    assert crew.shown() == crew.ledger


@pytest.mark.parametrize("step", [-7_200, -61, 61, 90_000])
def test_a_step_of_the_clock_moves_runs_and_loses_none(crew: Crew, step: float) -> None:
    """Back and forth by more than what is kept."""
    crew.start("alice")
    for seconds in (60, 60, step, 60, 60, 60, -step, 60, 60, 60):
        crew.ran("alice", 3)
        crew.beat("alice")
        crew.clock.advance(seconds) if seconds == 60 else crew.clock.shift(seconds)
        keep_rates(crew.engine)
    if abs(step) < 86_400:
        assert crew.shown() == crew.ledger
    assert crew.shown(HOURS.kept, hourly=True) == crew.ledger


def test_figures_are_removed_in_time(crew: Crew) -> None:
    """Minutes after a day, hours after 60; the keys of those that are left follow from one document."""
    crew.start("alice")
    for _ in range(27):
        crew.ran("alice")
        crew.beat("alice")
        crew.clock.advance(3_600)
        for _ in range(9):  # a sweep removes 200 at most
            keep_rates(crew.engine)
    datastore = crew.engine.datastore
    keys = [key for key in stored_keys(datastore.read, [Role.PRESENCE]) if datastore.read(key) is not None]
    assert (sum(key.startswith(MINUTE) for key in keys), sum(key.startswith(HOUR) for key in keys)) == (25, 27)
    assert crew.shown(HOURS.kept, hourly=True) == crew.ledger


def test_nothing_is_written_while_nothing_happens(crew: Crew) -> None:
    crew.start("alice")
    for _ in range(3):
        crew.clock.advance(60)
        keep_rates(crew.engine)
    assert crew.engine.datastore.read(RATES) is None


def test_damaged_figures_count_as_none(crew: Crew) -> None:
    """Those of others stay."""
    crew.start("alice")
    crew.start("bob")
    crew.ran("alice")
    crew.ran("bob", 2, "b")
    crew.beat("alice")
    crew.beat("bob")
    for damage in (7, {"id": 7}, {"id": "x", "types": 7}, {"id": "x", "types": {"a": {"succeeded": [1, 2]}}}):
        crew.engine.datastore.mutate(worker_key("alice"), [Set("rates", damage)])
        assert crew.shown() == {("b", "succeeded"): 2}
    crew.engine.datastore.set(RETIRED_RATES, {"documentType": RETIRED_RATES, "lives": 7, "base": []})
    crew.engine.datastore.set(RATES, {"documentType": RATES, "minutes": "x"})
    crew.clock.advance(60)
    keep_rates(crew.engine)
    assert crew.shown() == {("b", "succeeded"): 2}


def test_types_beyond_a_bound_are_one(crew: Crew) -> None:
    crew.start("alice")
    for number in range(MAX_TYPES + 10):
        crew.ran("alice", 1, f"type-{number}")
    crew.beat("alice")
    shown = crew.shown()
    assert (len(shown), shown[OTHER, "succeeded"]) == (MAX_TYPES + 1, 10)


def test_a_lost_answer_of_a_retirement_counts_once(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew.start("alice")
    crew.ran("alice", 2)
    datastore, write = crew.engine.datastore, crew.engine.datastore.set_with_cas
    lost: list[str] = []

    def unanswered(key: str, value: dict[str, Any], cas: int) -> Any:
        answer = write(key, value, cas)
        if key == RETIRED_RATES and not lost:
            lost.append(key)
            raise AmbiguousWrite("no answer")
        return answer

    monkeypatch.setattr(datastore, "set_with_cas", unanswered)
    WorkerRecords(crew.engine).forget("alice", crew.tallies["alice"].to_record())
    assert lost and crew.shown() == crew.ledger


class Broken(zerog.BaseJob):
    JOB_TYPE = "broken"
    MAX_ERRORS = 2

    def run(self) -> None:
        raise ValueError("no")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    yield made
    made.close()


def test_a_worker_counts_its_runs(app: zerog.App) -> None:
    """By outcome; a worker that ends leaves its figures."""

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    app.register(Broken)
    for _ in range(3):
        app.submit(quick)
    app.submit(Broken)
    zerog.Worker(app).run(burst=True)
    *_, latest = app.rates(2)
    runs = {name: Counter[str]() for name in ("quick", "broken")}
    for each in app.rates(2):
        for name, of_type in each.types.items():
            runs[name].update(of_type.runs)
    assert runs == {"quick": {"succeeded": 3}, "broken": {"requeued": 1}}
    assert app.workers() == [] and latest.seconds == 60
    with pytest.raises(InvalidValue, match="count=0; expected a whole number from 1 to 1440"):
        app.rates(0)
