"""Jobs that a worker can't take, on the queues of workers that can."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import KINDS
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable, QueueUnavailable
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import new_document
from zerog.records.keys import QUEUES
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

OWN = ["memory", "sqlite", "two-files", "redis", *wide("beanstalkd")]
"""Kinds whose queues set entries aside."""


def worker_of(name: str, *knows: tuple[str, float]) -> tuple[WorkerIdentity, Callable[[Any], None]]:
    """A worker that knows these types and versions, and what it accepts."""
    known = dict(knows)

    def accept(head: Any) -> None:
        if head["schemaVersion"] > known.get(head["jobType"], -1):
            raise Unsuitable(f"{name} doesn't take {head['jobType']} {head['schemaVersion']}")

    return WorkerIdentity(name, 30.0, knows=knows), accept


CAPABLE = worker_of("capable", ("a", 2.0))
STRANGER = worker_of("stranger", ("other", 1.0))
OLDER = worker_of("older", ("a", 1.0))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=OWN)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Any:
    engine = KINDS[request.param].open(tmp_path, clock)
    yield engine
    engine.close()


def submit(engine: Engine, count: int, job_type: str = "a", version: float = 2.0, **fields: Any) -> list[str]:
    now = to_text(engine.clock.now())
    documents = [{**new_document(job_type, version, now), **fields} for _ in range(count)]
    return [document["uuid"] for document, _ in engine.submit(documents)]


def claimed(engine: Engine, who: Any, want: int = 100, queues: Any = ()) -> list[str]:
    return [claim.uuid for claim in engine.claim(want, *who, queues)]


@pytest.mark.parametrize("who", [STRANGER, OLDER], ids=["stranger", "older"])
def test_what_was_refused_is_there_for_other_workers_at_once(engine: Engine, clock: ManualClock, who: Any) -> None:
    """A worker that knows none of the types, or an older version: the next one that can takes them."""
    uuids = submit(engine, 5)
    assert claimed(engine, who) == []
    clock.advance(2)  # by which each worker has seen that the kind was set aside
    first = claimed(engine, CAPABLE, 3)
    assert len(first) == 3
    later = submit(engine, 1)
    assert sorted([*first, *claimed(engine, CAPABLE)]) == sorted([*uuids, *later])
    assert engine.queue.size() == 0


def test_what_was_refused_blocks_no_job(engine: Engine, clock: ManualClock) -> None:
    """It is read once, however often the worker polls, and counted once."""
    submit(engine, 20)
    mine = submit(engine, 3, "other", 1.0)
    assert claimed(engine, STRANGER) == mine
    assert engine.counters["released.unsuitable"] == 20
    for _ in range(5):
        clock.advance(60)
        assert claimed(engine, STRANGER) == []
    assert engine.counters["released.unsuitable"] == 20


def test_an_entry_set_aside_keeps_its_id_or_is_named_anew(engine: Engine, clock: ManualClock) -> None:
    """So that no sweep takes its job for lost, and one that is lost is put again."""
    uuids = submit(engine, 4)
    assert claimed(engine, STRANGER) == []
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(4):
        clock.advance(60)
        assert reconciler.sweep().put_again == []
    [aside] = [name for name in engine.serving(["default"], CAPABLE[0]) if name != "default"]
    while (reservation := engine.queue_named(aside).reserve(0)) is not None:
        reservation.delete()
    assert sorted(reconciler.sweep().put_again) == sorted(uuids)
    assert sorted(claimed(engine, CAPABLE)) == sorted(uuids)


def test_a_worker_serves_no_kinds_that_it_can_t_run(engine: Engine, clock: ManualClock) -> None:
    """Nor at those of queues that it doesn't serve, or that are paused."""
    submit(engine, 2, queueName="low")
    assert claimed(engine, STRANGER, queues=["low"]) == []
    clock.advance(2)
    assert engine.serving(["default"], CAPABLE[0]) == ("default",)
    assert engine.serving(["low"], STRANGER[0]) == ("low",)
    assert len(engine.serving(["default", "low"], CAPABLE[0])) == 3
    assert claimed(engine, CAPABLE) == []
    assert len(claimed(engine, CAPABLE, queues=["default", "low"])) == 2


def test_a_document_that_only_seems_fit_is_delivered_with_growing_delays(engine: Engine, clock: ManualClock) -> None:
    """Its kind is known, so it stays on its queue: put back for as long as it has waited, from 1 to 60 seconds."""
    submit(engine, 1)

    def refuse(head: Any) -> None:
        raise Unsuitable("not this one")

    looks = []
    for second in range(400):
        before = engine.counters["released.unsuitable"]
        assert engine.claim(1, CAPABLE[0], refuse) == []
        if engine.counters["released.unsuitable"] > before:
            looks.append(second)
        clock.advance(1)
    assert 7 <= len(looks) <= 14
    assert all(later - earlier <= 61 for earlier, later in itertools.pairwise(looks))


def test_a_list_that_makes_no_sense_is_mended(engine: Engine, clock: ManualClock) -> None:
    """Whatever the document of the queues holds, claims continue."""
    nonsense = {"default": {"default~0123456789ab": ["a"], "x": 5}, "low": 7, "y": {"z": ["a", "b", "c"]}}
    engine.datastore.create(QUEUES, {"documentType": QUEUES, "asides": nonsense, "paused": {"slow": {"by": "ann"}}})
    uuids = submit(engine, 2)
    assert claimed(engine, STRANGER) == []
    clock.advance(2)
    assert claimed(engine, CAPABLE) == uuids
    assert (engine.datastore.read(QUEUES) or {})["paused"] == {"slow": {"by": "ann"}}


def test_what_is_remembered_of_refusals_is_bounded(engine: Engine) -> None:
    """In a worker that doesn't sweep, too."""
    submit(engine, 1_100)
    assert claimed(engine, STRANGER) == []
    assert len(engine.skipped) == 1_000


def test_a_kind_that_can_t_be_listed_is_put_back(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on queues that nothing is set aside from."""
    from zerog.engine import set_aside

    monkeypatch.setattr(set_aside, "LISTED", 0)
    uuids = submit(engine, 3)
    assert claimed(engine, STRANGER) == []
    assert claimed(engine, CAPABLE) == []
    clock.advance(5)
    assert claimed(engine, CAPABLE) == uuids


def test_a_kind_of_which_nothing_waits_is_forgotten(engine: Engine, clock: ManualClock) -> None:
    """After a deploy its queue would be polled with every claim; one that is needed again is listed again."""

    def listed() -> list[str]:
        return list((engine.datastore.read(QUEUES) or {})["asides"]["default"])

    uuids = submit(engine, 2)
    assert claimed(engine, STRANGER) == []
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(4):
        reconciler.sweep()
        clock.advance(601)
    assert len(listed()) == 1, "its queue holds entries"
    claims = engine.claim(100, *CAPABLE)
    assert [claim.uuid for claim in claims] == uuids
    engine.settle([Settlement(claim, "finish", 1, 200) for claim in claims])
    for _ in range(3):
        clock.advance(601)
        reconciler.sweep()
    assert listed() == []
    assert engine.serving(["default"], CAPABLE[0]) == ("default",)
    again = submit(engine, 1)
    assert claimed(engine, STRANGER) == []
    clock.advance(2)
    assert claimed(engine, CAPABLE) == again


def test_kinds_whose_queues_are_out_of_reach_stay_listed(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they hold is not known."""
    [uuid] = submit(engine, 1)
    assert claimed(engine, STRANGER) == []
    aside = engine.aside_of(engine.read(uuid)[0])
    assert aside is not None and engine.aside_of({"jobType": None}) is None

    def fail() -> int:
        raise QueueUnavailable("no route")

    with monkeypatch.context() as broken:
        broken.setattr(engine.queue_named(aside), "size", fail)
        for _ in range(3):
            engine.drop_empty_kinds()
    assert engine.aside_of(engine.read(uuid)[0]) == aside
    assert claimed(engine, CAPABLE) == [uuid]


def unlisted(error: Exception) -> Callable[[Engine, pytest.MonkeyPatch], None]:
    """A datastore that refuses to list kinds with this error."""

    def prepare(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        write = engine.datastore.set_with_cas

        def refuse(key: str, *arguments: Any) -> int:
            if key == QUEUES:
                raise error
            return write(key, *arguments)

        monkeypatch.setattr(engine.datastore, "set_with_cas", refuse)
        monkeypatch.setattr(engine, "_wait_for_answer", lambda _attempt: None)

    return prepare


@pytest.mark.parametrize("error", [DatastoreUnavailable("no route"), AmbiguousWrite("no answer")], ids=repr)
def test_a_kind_whose_listing_fails_is_put_back(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """At once, or again and again because other workers change the list; the jobs wait for workers that take them."""
    uuids = submit(engine, 3)
    with monkeypatch.context() as patch:
        unlisted(error)(engine, patch)
        assert claimed(engine, STRANGER) == []
        assert engine.datastore.read(QUEUES) is None
    clock.advance(5)
    assert sorted(claimed(engine, CAPABLE)) == sorted(uuids)


def test_a_listing_without_an_answer_is_made_once(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is read again, which shows it."""
    write, left = engine.datastore.set_with_cas, [1]

    def unanswered(key: str, *arguments: Any) -> int:
        token = write(key, *arguments)
        if key == QUEUES and left:
            left.pop()
            raise AmbiguousWrite("no answer")
        return token

    monkeypatch.setattr(engine.datastore, "set_with_cas", unanswered)
    monkeypatch.setattr(engine, "_wait_for_answer", lambda _attempt: None)
    uuids = submit(engine, 3)
    assert claimed(engine, STRANGER) == []
    assert not left
    assert len((engine.datastore.read(QUEUES) or {})["asides"]["default"]) == 1
    clock.advance(2)
    assert claimed(engine, CAPABLE) == uuids


class Choosy(MemoryQueue):
    """A queue whose server takes no such names."""

    def queue_named(self, name: str) -> MemoryQueue:
        if "~" in name:
            raise ConfigurationError(f"{name} can't be a queue here")
        return self


def test_where_no_queue_can_have_the_name_of_a_kind_nothing_is_set_aside(clock: ManualClock) -> None:
    """What was refused is put back with a delay."""
    engine = Engine(MemoryDatastore(), Choosy(clock=clock), clock)
    uuids = submit(engine, 2)
    assert claimed(engine, STRANGER) == []
    assert engine.datastore.read(QUEUES) is None
    clock.advance(5)
    assert sorted(claimed(engine, CAPABLE)) == sorted(uuids)


def test_an_entry_of_a_job_that_has_moved_on_is_not_noted(engine: Engine) -> None:
    """Set aside too late: its document names the queue, or the run, that it has now."""
    [uuid] = submit(engine, 1)
    before = engine.read(uuid)
    engine.note_entry(uuid, "elsewhere", 7)
    assert engine.read(uuid) == before


def test_rq_queues_set_nothing_aside(tmp_path: Path, clock: ManualClock) -> None:
    """RQ's own workers serve them, and know no other queues."""
    engine = KINDS["rq"].open(tmp_path, clock)
    uuids = submit(engine, 3)
    assert claimed(engine, STRANGER) == []
    clock.advance(5)
    assert sorted(claimed(engine, CAPABLE)) == sorted(uuids)
    assert engine.datastore.read(QUEUES) is None
    engine.close()
