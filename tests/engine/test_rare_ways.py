"""Ways through the verbs that take two coincidences: an answer that was lost, and another writer in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import EACH_KIND, KINDS
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import (
    CorruptDocument,
    InvalidValue,
    JobNotFound,
    JobStateError,
)
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document, new_uuid
from zerog.records.operations import Append, Set
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=EACH_KIND)
def engine(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
    made = KINDS[request.param].open(tmp_path, clock)
    yield made
    failpoints.disarm()
    made.close()


@pytest.fixture
def parts(clock: ManualClock, tmp_path: Path) -> Engine:
    """The engine of two parts, whose verbs are several writes."""
    return KINDS["memory"].open(tmp_path, clock)


@pytest.fixture
def shared(clock: ManualClock, tmp_path: Path) -> Iterator[SqliteEngine]:
    made = KINDS["sqlite"].open(tmp_path, clock)
    assert isinstance(made, SqliteEngine)
    yield made
    failpoints.disarm()
    made.close()


def document(engine: Engine) -> dict[str, Any]:
    return new_document("test", 1.0, to_text(engine.clock.now()))


def submit(engine: Engine) -> str:
    return str(engine.submit([document(engine)])[0][0]["uuid"])


def claim(engine: Engine, worker: WorkerIdentity = ALICE) -> list[Claim]:
    return engine.claim(10, worker, lambda head: head["jobType"])


def meanwhile(engine: Engine, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Run a function while the engine waits for the answer that it lost."""
    left = [happens]
    monkeypatch.setattr(engine, "_wait_for_answer", lambda _attempt: left and left.pop()())


# submissions


def test_a_submission_that_arrives_after_it_was_read_back_is_stored_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was there, so it is sent again; but the first one has just been stored, and the second is refused."""
    made = document(engine)
    engine_read = engine.datastore.read_with_cas
    looks: list[str] = []

    def first_arrives_late(key: str, head: bool = False) -> Any:
        found = engine_read(key, head)
        if not looks:
            looks.append(key)
            engine.submit([made])
        return found

    failpoints.arm("submit.create", "unknown")
    monkeypatch.setattr(engine.datastore, "read_with_cas", first_arrives_late)
    [(stored, token)] = engine.submit([made])
    assert looks
    assert engine_read(make_key(made["uuid"])) == (stored, token)
    assert (stored["status"], stored["queueState"]) == ("queued", "queued")
    assert [one.uuid for one in claim(engine)] == [made["uuid"]]
    assert claim(engine) == []


def test_a_submission_whose_job_has_ended_by_the_time_it_is_read_back_is_left_alone(
    parts: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was so late that the job was put, run and its result stored: it is not put once more."""

    def others() -> None:
        parts.clock.pause(6)
        Reconciler(parts, "others", parts.clock).sweep()
        parts.settle([Settlement(mine, "finish", 1, 200) for mine in claim(parts, BOB)])

    failpoints.arm("submit.created", "unknown")
    meanwhile(parts, monkeypatch, others)
    [(stored, _)] = parts.submit([document(parts)])
    assert (stored["status"], stored["resultCode"]) == ("succeeded", 200)
    assert parts.queue.size() == 0


@pytest.mark.parametrize(("status", "instead"), [("running", "NO_RESULT"), ("succeeded", r"retry\(\)")])
def test_only_a_waiting_job_is_enqueued_once_more(engine: Engine, status: str, instead: str) -> None:
    """For any other the error names what it is, and what to do instead."""
    uuid = submit(engine)
    engine.check_waits(uuid)
    [mine] = claim(engine)
    if status == "succeeded":
        engine.settle([Settlement(mine, "finish", 1, 200)])
    before = engine.read(uuid)
    for refused in (engine.check_waits, engine.enqueue):
        with pytest.raises(JobStateError, match=f"{status}.*{instead}"):
            refused(uuid)
    assert engine.read(uuid) == before
    assert engine.queue.size() == 0


# claims and settlements


def test_a_step_without_claims_only_settles(engine: Engine) -> None:
    """A worker that shuts down claims no more."""
    first = submit(engine)
    [mine] = claim(engine)
    submit(engine)
    assert engine.step([Settlement(mine, "finish", 1, 200)], 0, ALICE, lambda head: None) == ([True], [], None)
    assert engine.read(first)[0]["status"] == "succeeded"
    assert engine.queue.size() == 1


# repairs


def test_a_job_that_began_after_it_was_found_missing_is_not_put_again(engine: Engine) -> None:
    """Between the look at a page of heads and the repair it may have been delivered."""
    uuid = submit(engine)
    claim(engine)
    assert not engine.put_again(uuid, "it was missing there")
    assert engine.put_again_all([uuid], "it was missing there") == []
    assert (engine.queue.size(), engine.counters["put.again"]) == (0, 0)


def test_a_run_that_another_sweep_rescued_first_is_no_rescue_of_this_one(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps see the same silent worker; one of them takes the job, the other reports that it did nothing."""
    uuid = submit(engine)
    [mine] = claim(engine)
    reconciler = Reconciler(engine, "late", clock)
    reconciler.sweep()
    clock.advance(31)
    find = engine.datastore.find

    def rescued_meanwhile(query: FindQuery) -> Any:
        page = find(query)
        if query.status == "running":
            engine.rescue(uuid, mine.run, "lost", "alice was silent")
        return page

    monkeypatch.setattr(engine.datastore, "find", rescued_meanwhile)
    report = reconciler.sweep()
    assert (report.rescued, report.cancelled) == ([], [])
    head = engine.read(uuid)[0]
    assert (head["lost"], head["epoch"]) == (1, 2)


def test_a_batch_of_repairs_without_an_answer_is_found_out_by_the_next_sweep(shared: SqliteEngine) -> None:
    """Nothing is counted on a guess; what was not put is put then."""
    uuids = [submit(shared) for _ in range(3)]
    claim(shared)
    pending = [Set("status", "queued"), Set("owner", None), Set("running", False), Set("queueState", "pending")]
    for uuid in uuids:
        shared.datastore.mutate(make_key(uuid), pending)
    failpoints.arm("reconcile.put", "unknown")
    assert shared.put_again_all(uuids, "its writer did not") == []
    assert (shared.queue.size(), shared.counters["put.again"]) == (0, 0)
    assert shared.put_again_all(uuids, "its writer did not") == uuids
    assert shared.queue.size() == 3


def test_a_job_that_could_not_be_ended_as_cancelled_is_not_logged_as_such(
    parts: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer was faster, or will be; until then the document's status holds."""
    uuid = submit(parts)
    [claim] = parts.claim(1, ALICE, lambda head: None)
    parts.cancel(uuid)
    monkeypatch.setattr(parts, "_stop_waiting", lambda *_: False)
    settlement = Settlement(claim, "requeue", 1)
    assert parts.settle([settlement]) == [True]
    assert settlement.status is None
    assert parts.read(uuid)[0]["status"] == "queued"


def test_a_repair_leaves_a_cancelled_job_that_can_t_be_ended_now(
    parts: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = submit(parts)
    asked = Set("cancelRequested", "2026-01-01T00:00:00+00:00")
    parts.datastore.mutate(make_key(uuid), [asked, Set("queueState", "pending")])
    monkeypatch.setattr(parts, "_stop_waiting", lambda *_: False)
    assert not parts.put_again(uuid, "a test")
    assert parts.read(uuid)[0]["status"] == "queued"


def test_a_cancellation_that_another_client_made_first_is_an_answer(
    parts: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged by the process that made it."""
    uuid = submit(parts)
    mutate = parts.datastore.mutate

    def overtaken(*args: Any, **kwargs: Any) -> None:
        mutate(*args, **kwargs)
        raise parts.datastore.casException("made up: another write was faster")

    monkeypatch.setattr(parts.datastore, "mutate", overtaken)
    assert parts.cancel(uuid) == "cancelled"
    assert "cancelled" not in caplog.text


def test_a_cancelled_job_whose_end_its_document_refuses_ends_as_cancelled(engine: Engine) -> None:
    uuid = submit(engine)
    [mine] = claim(engine)
    engine.cancel(uuid)
    assert engine.give_up(mine, "its end could not be stored", is_release=False)
    assert engine.read(uuid)[0]["status"] == "cancelled"


def test_a_claim_without_an_answer_is_given_back_at_its_next_delivery(
    parts: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no sweep can find it: the worker that the document names reports that it doesn't hold that run."""
    monkeypatch.setattr(type(parts.datastore), "can_find", False)
    uuid = submit(parts)
    [lost] = claim(parts)
    parts.queue.put(uuid)
    holding = WorkerIdentity("alice", 30.0, holds=lambda nonce: nonce == lost.nonce)
    assert claim(parts, holding) == claim(parts, BOB) == []
    assert parts.read(uuid)[0]["owner"]["nonce"] == lost.nonce, "it runs"
    parts.queue.put(uuid)
    [again] = claim(parts, WorkerIdentity("alice", 30.0, holds=lambda nonce: False))
    assert (again.uuid, again.nonce != lost.nonce) == (uuid, True)
    head = parts.read(uuid)[0]
    assert (head["status"], head["attempts"], head["lost"]) == ("running", 1, 0)


def test_a_repair_that_the_history_refuses_is_marked_without_it(parts: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the job would be put again in each sweep."""
    uuid = submit(parts)
    parts.datastore.mutate(make_key(uuid), [Set("queueState", "pending")])
    mutate = parts.datastore.mutate

    def refuse(key: str, operations: Any, **guards: Any) -> Any:
        if any(isinstance(operation, Append) for operation in operations):
            raise InvalidValue("made up: the history is full")
        return mutate(key, operations, **guards)

    monkeypatch.setattr(parts.datastore, "mutate", refuse)
    assert parts.put_again(uuid, "its writer did not")
    assert not parts.put_again(uuid, "its writer did not")
    assert parts.read(uuid)[0]["queueState"] == "queued"


def test_only_a_damaged_job_is_removed_as_damaged(engine: Engine) -> None:
    uuid, missing = submit(engine), new_uuid()
    with pytest.raises(JobStateError, match="makes sense"):
        engine.discard_damaged(uuid)
    with pytest.raises(JobNotFound, match=missing):
        engine.discard_damaged(missing)
    assert engine.read(uuid)[0]["status"] == "queued"
    engine.datastore.mutate(make_key(uuid), [Set("epoch", "x")])
    engine.discard_damaged(uuid, "it was tested")
    with pytest.raises(JobNotFound):
        engine.read(uuid)


def test_a_time_that_makes_no_sense_is_named(parts: Engine) -> None:
    with pytest.raises(CorruptDocument, match="notBefore 'tomorrow'"):
        parts.early_by({"uuid": "x", "notBefore": "tomorrow"})
