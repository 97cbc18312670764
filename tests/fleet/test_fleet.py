"""What an operator sees of workers and queues, and the orders to them, without any worker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
import zerog.fleet.fleet
from tests.engine.engines import EACH_KIND, KINDS
from tests.maintenance.doctors import doctor_of
from zerog.contracts.datastore import without_history
from zerog.engine.cas import UNANSWERED
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import AmbiguousWrite, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.keys import QUEUES, worker_key
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice-1", 30.0), WorkerIdentity("bob-2", 6.0)


class Place:
    """An app over one of the engines, with a manual clock."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.clock = ManualClock()
        self.app = zerog.App("memory://", clock=self.clock)
        self.app.engine = KINDS[kind].open(folder, self.clock)
        self.app.fleet = zerog.fleet.fleet.Fleet(self.app.engine)

    def work(self, worker: WorkerIdentity = ALICE, beat: int = 1, **details: Any) -> None:
        """Make a worker renew its lease."""
        first = {"host": worker.name[:3], "queues": ["default"], "config": {"name": worker.name.split("-")[0]}}
        renewed = {"renewedAt": self.clock.now().isoformat(), "state": "running", "jobs": 0, **details}
        WorkerRecords(self.app.engine).renew(worker, beat, lambda: renewed, lambda: first)

    def states(self) -> dict[str, str]:
        return {worker["name"]: worker["state"] for worker in self.app.workers()}


@pytest.fixture(params=EACH_KIND)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path)
    yield made
    made.app.close()


@pytest.fixture
def memory(tmp_path: Path) -> Place:
    return Place("memory", tmp_path)


def test_workers_are_shown_by_their_records(place: Place) -> None:
    assert place.app.workers() == []
    place.work(ALICE, jobs=2, uuids=["a", "b"], memory=5)
    place.clock.advance(4)
    place.work(BOB)
    [alice, bob] = place.app.workers()
    assert (alice["name"], alice["host"], alice["jobs"], alice["uuids"]) == ("alice-1", "ali", 2, ["a", "b"])
    assert (alice["age"], alice["lease"], alice["build"], alice["drain"]) == (4.0, 30.0, None, None)
    assert (bob["name"], bob["age"]) == ("bob-2", 0.0)


def test_a_worker_whose_lease_has_expired_is_silent(place: Place) -> None:
    place.work(ALICE)
    place.work(BOB)
    place.clock.advance(7)
    assert place.states() == {"alice-1": "running", "bob-2": "silent"}
    place.work(BOB, 2)
    assert place.states() == {"alice-1": "running", "bob-2": "running"}


def test_workers_are_drained_by_name_host_or_all(place: Place) -> None:
    fleet = place.app.fleet
    place.work(ALICE, jobs=1)
    place.work(BOB)
    [recorded] = fleet.drain("alice-1", by="ann")
    order = {"since": "2026-01-01T00:00:00.000000+00:00", "by": "ann", "forGood": False}
    assert recorded["name"] == "alice-1" and recorded["drain"] == order
    assert place.states() == {"alice-1": "draining", "bob-2": "running"}
    [recorded] = fleet.drain("bob", for_good=True)
    assert recorded["name"] == "bob-2" and recorded["drain"]["forGood"] is True
    assert place.states() == {"alice-1": "draining", "bob-2": "draining"}  # neither has obeyed yet
    place.work(BOB, 2, state="drained")
    assert [worker["name"] for worker in fleet.undrain(host="ali")] == ["alice-1"]
    assert place.states() == {"alice-1": "running", "bob-2": "drained"}
    assert len(fleet.undrain(everyone=True)) == 2
    assert [worker["drain"] for worker in place.app.workers()] == [None, None]


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["carl"], {}, "called 'carl'; known: alice-1, bob-2"),
        (["alice-1", "carl"], {}, "called 'carl'"),
        ([], {"host": "moon"}, "on host 'moon'; known: ali, bob"),
    ],
)
def test_an_unknown_worker_is_an_error_that_names_the_known_ones(
    memory: Place, names: list[str], options: dict[str, Any], words: str
) -> None:
    memory.work(ALICE)
    memory.work(BOB)
    with pytest.raises(zerog.WorkerNotFound, match=words):
        memory.app.fleet.drain(*names, **options)
    assert set(memory.states().values()) == {"running"}


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([], {}),
        (["alice-1"], {"host": "ali"}),
        (["alice-1"], {"everyone": True}),
        ([], {"host": "x", "everyone": True}),
    ],
)
def test_workers_are_chosen_in_one_way(memory: Place, names: list[str], options: dict[str, Any]) -> None:
    memory.work(ALICE)
    with pytest.raises(zerog.InvalidValue, match="one of these"):
        memory.app.fleet.drain(*names, **options)


@pytest.mark.parametrize("options", [{"by": 7}, {"by": "x" * 501}])
def test_a_wrong_by_is_refused(memory: Place, options: dict[str, Any]) -> None:
    memory.work(ALICE)
    with pytest.raises(zerog.InvalidValue, match="expected text"):
        memory.app.fleet.drain("alice-1", **options)
    with pytest.raises(zerog.InvalidValue, match="queue=''"):
        memory.app.fleet.pause("")
    with pytest.raises(zerog.InvalidValue, match="reason="):
        memory.app.fleet.pause("slow", reason=None)  # type: ignore[arg-type]


def test_a_worker_that_has_just_left_is_not_notified(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record is not made anew."""
    memory.work(ALICE)
    workers = memory.app.fleet.workers

    def then_it_leaves() -> Any:
        shown = workers()
        WorkerRecords(memory.app.engine).forget(ALICE.name)
        return shown

    monkeypatch.setattr(memory.app.fleet, "workers", then_it_leaves)
    assert memory.app.fleet.drain(everyone=True) == []
    assert memory.app.datastore.read(worker_key("alice-1")) is None


def test_a_worker_of_one_delivery_takes_no_orders(memory: Place) -> None:
    WorkerRecords(memory.app.engine).renew(ALICE, 1, first=lambda: {"executor": "single"})
    assert memory.app.fleet.drain(everyone=True) == []
    with pytest.raises(zerog.WorkerNotFound):
        memory.app.fleet.drain("alice-1")


def test_a_name_without_a_record_is_not_shown(memory: Place) -> None:
    """It is about to start, or has left."""
    memory.work(ALICE)
    memory.app.datastore.delete(worker_key("alice-1"))
    assert memory.app.workers() == []


def test_a_record_of_other_code_is_shown_as_far_as_possible(memory: Place) -> None:
    WorkerRecords(memory.app.engine).renew(ALICE, 1)
    [worker] = memory.app.workers()
    assert (worker["state"], worker["age"], worker["jobs"]) == ("running", None, None)


def test_queues_are_paused_and_resumed(place: Place) -> None:
    fleet = place.app.fleet
    assert fleet.queues() == [
        {
            "name": "default",
            "waiting": 0,
            "scheduled": 0,
            "parked": 0 if place.app.engine.parks else None,
            "workers": 0,
            "paused": None,
            "limits": None,
            "capped": False,
        }
    ]
    assert fleet.pause("slow", reason="the disk", by="ann")
    place.clock.advance(60)
    assert not fleet.pause("slow", reason="another")
    assert fleet.pause("fast")
    entry = {"since": "2026-01-01T00:00:00.000000+00:00", "by": "ann", "reason": "the disk"}
    assert fleet.paused()["slow"] == entry
    assert fleet.resume("fast")
    assert not fleet.resume("fast")
    assert [(queue["name"], queue["paused"]) for queue in fleet.queues()] == [("default", None), ("slow", entry)]


def test_queues_show_what_waits_and_which_workers_serve(place: Place) -> None:
    app = place.app

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    for queue in ("default", "slow", "slow"):
        app.submit(quick, queue=queue)
    for queue in ("default", "later", "later"):
        app.submit(quick, queue=queue, delay=60)
    place.work(ALICE)
    place.work(BOB)
    app.fleet.drain("bob")
    shown = [(queue["name"], queue["waiting"], queue["scheduled"], queue["workers"]) for queue in app.fleet.queues()]
    assert shown == [("default", 1, 1, 1), ("later", 0, 2, 0), ("slow", 2, 0, 0)]
    place.clock.advance(61)
    shown = [(queue["name"], queue["waiting"], queue["scheduled"]) for queue in app.fleet.queues()]
    assert shown == [("default", 2, 0), ("later", 2, 0), ("slow", 2, 0)], "what is due waits"


def test_many_scheduled_jobs_cap_the_numbers(place: Place) -> None:
    """Entries of scheduled jobs beyond the bound are not shown as waiting."""
    app = place.app

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    for delay in (0, 60, 60, 60):
        app.submit(quick, delay=delay)
    app.submit(quick, queue="slow", delay=60)
    shown = {queue["name"]: queue for queue in app.fleet.queues(cap=2)}
    assert (shown["default"]["waiting"], shown["default"]["scheduled"], shown["default"]["capped"]) == (1, 2, True)
    [default, slow] = app.fleet.queues(cap=math.inf)
    assert (default["waiting"], default["scheduled"], default["capped"]) == (1, 3, False)
    assert (slow["waiting"], slow["scheduled"]) == (0, 1)


def test_a_queue_out_of_reach_has_no_number(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise QueueUnavailable("away")

    monkeypatch.setattr(memory.app.queue, "size", away)
    [queue] = memory.app.fleet.queues()
    assert queue == {
        "name": "default",
        "waiting": None,
        "scheduled": 0,
        "parked": 0,
        "workers": 0,
        "paused": None,
        "limits": None,
        "capped": False,
    }


def test_pauses_by_two_at_once_both_hold(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a compare-and-swap; the second writer repeats it."""
    store = memory.app.datastore
    write = store.set_with_cas

    def overtaken(key: str, value: Any, cas: int) -> Any:
        monkeypatch.setattr(store, "set_with_cas", write)
        assert memory.app.fleet.pause("other")
        return write(key, value, cas)

    monkeypatch.setattr(store, "set_with_cas", overtaken)
    assert memory.app.fleet.pause("slow")
    assert set(memory.app.fleet.paused()) == {"slow", "other"}


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_order_whose_answer_was_lost_is_given_again(
    memory: Place, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    store = memory.app.datastore
    memory.work(ALICE)
    for verb in ("mutate", "set_with_cas"):
        original = getattr(store, verb)

        def lost(*args: Any, verb: str = verb, original: Any = original, **kwargs: Any) -> Any:
            monkeypatch.setattr(store, verb, original)
            if is_stored:
                original(*args, **kwargs)
            raise AmbiguousWrite("made up")

        monkeypatch.setattr(store, verb, lost)
    assert memory.app.fleet.pause("slow")
    assert set(memory.app.fleet.paused()) == {"slow"}
    assert len(memory.app.fleet.drain("alice-1")) == 1
    assert memory.states() == {"alice-1": "draining"}


def test_answers_that_are_always_lost_are_an_error(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.work(ALICE)
    tried: list[str] = []

    def lost(key: str, *_args: Any, **_kwargs: Any) -> Any:
        tried.append(key)
        raise AmbiguousWrite("made up")

    monkeypatch.setattr(memory.app.datastore, "mutate", lost)
    monkeypatch.setattr(memory.app.datastore, "set_with_cas", lost)
    with pytest.raises(AmbiguousWrite, match="made up"):
        memory.app.fleet.drain("alice-1")
    with pytest.raises(AmbiguousWrite, match="made up"):
        memory.app.fleet.pause("slow")
    assert len(tried) == 2 * (UNANSWERED + 1)


# the doctor, and reconcile


def test_the_doctor_names_a_paused_queue_without_an_alarm(place: Place) -> None:
    app = place.app

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    app.submit(quick, queue="slow")
    place.work(ALICE)
    assert any("which no worker serves" in finding.what for finding in doctor_of(app, "m:app").examine().findings)
    app.fleet.pause("slow", reason="the disk", by="ann")
    diagnosis = doctor_of(app, "m:app").examine()
    [finding] = [finding for finding in diagnosis.findings if "queue slow" in finding.what]
    since = app.fleet.paused()["slow"]["since"]
    assert finding.what == f"1 job waits on queue slow, which is paused since {since}" and not finding.needs_person
    assert finding.command == "zerog queues resume m:app slow"
    assert diagnosis.queues["slow"]["paused"]["reason"] == "the disk"


def test_the_doctor_reports_that_all_workers_of_a_queue_are_drained(place: Place) -> None:
    app = place.app

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    app.submit(quick)
    place.work(ALICE)
    place.work(BOB)
    app.fleet.drain("bob")
    assert not any("drained" in finding.what for finding in doctor_of(app).examine().findings)
    app.fleet.drain(everyone=True)
    [finding] = [finding for finding in doctor_of(app, "m:app").examine().findings if "drained" in finding.what]
    assert finding.needs_person and finding.command == "zerog workers undrain m:app alice-1"


def test_the_doctor_survives_pauses_that_make_no_sense(memory: Place) -> None:
    memory.app.datastore.create(QUEUES, {"paused": 7})
    findings = doctor_of(memory.app).examine().findings
    [finding] = [finding for finding in findings if "paused" in finding.what]
    assert finding.needs_person


def test_the_pauses_are_a_document_without_history(memory: Place) -> None:
    memory.app.fleet.pause("slow")
    stored = memory.app.datastore.read(QUEUES)
    assert stored == without_history(stored) and stored["documentType"] == QUEUES
