"""Workers that are known to be gone, and workers that were taken for dead and return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zerog
from zerog.contracts.datastore import RunGuard
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CorruptDocument
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.losses import bury, take_back


class Job(zerog.BaseJob):
    JOB_TYPE = "job"

    def run(self) -> int:
        return 200


@pytest.fixture(params=["memory://", "sqlite:///{}/jobs.db"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    app = zerog.App(request.param.format(tmp_path))
    app.register(Job)
    yield app
    app.close()


def claims(app: zerog.App, worker: str, number: int) -> list[Claim]:
    for _ in range(number):
        app.submit("job")
    claimed = app.engine.claim(number, WorkerIdentity(worker, 30.0), app.registry.load_head)
    assert len(claimed) == number
    return claimed


def document(app: zerog.App, claim: Claim) -> dict[str, Any]:
    stored: dict[str, Any] = app.datastore.read(claim.key)
    return stored


@pytest.mark.parametrize(("was_stopping", "lost", "attempts"), [(False, 1, 1), (True, 0, 0)])
def test_the_jobs_of_a_buried_worker_run_again_at_once(
    app: zerog.App, was_stopping: bool, lost: int, attempts: int
) -> None:
    """In their order, and ahead of what waits. Another worker's jobs are left alone, and the record is gone."""
    gone, other = claims(app, "gone", 3), claims(app, "other", 1)
    WorkerRecords(app.engine).renew(WorkerIdentity("gone", 30.0), 1)
    assert sorted(bury(app.engine, "gone", was_stopping)) == sorted(claim.uuid for claim in gone)
    for claim in gone:
        head = document(app, claim)
        assert (head["status"], head["lost"], head["attempts"]) == ("queued", lost, attempts)
    assert document(app, other[0])["owner"]["worker"] == "other"
    assert "gone" not in WorkerRecords(app.engine).directory()
    assert bury(app.engine, "gone", was_stopping) == []
    again = app.engine.claim(3, WorkerIdentity("next", 30.0), app.registry.load_head)
    assert [claim.uuid for claim in again] == [claim.uuid for claim in gone]


def rescued(app: zerog.App) -> Claim:
    [claim] = claims(app, "cut off", 1)
    assert app.engine.rescue(claim.uuid, claim.run, "lost", "worker cut off was silent")
    assert document(app, claim)["lost"] == 1
    return claim


@pytest.mark.parametrize("runs", [True, False])
def test_a_worker_that_returns_takes_back_what_its_rescue_counted_once(app: zerog.App, runs: bool) -> None:
    """Also while the job waits or runs elsewhere, which that run doesn't notice."""
    claim = rescued(app)
    again = app.engine.claim(1, WorkerIdentity("next", 30.0), app.registry.load_head) if runs else []
    assert take_back(app.engine, claim.uuid, claim.nonce, "it is back")
    assert not take_back(app.engine, claim.uuid, claim.nonce, "it is back")
    stored = document(app, claim)
    assert (stored["lost"], [event["msg"] for event in stored["events"]]) == (0, ["it is back"])
    for running in again:
        app.datastore.mutate(running.key, [], run=running.run._replace(seq=1))
        assert document(app, claim)["owner"]["worker"] == "next"


def test_only_the_loss_of_the_named_run_is_taken_back(app: zerog.App) -> None:
    claim = rescued(app)
    [again] = app.engine.claim(1, WorkerIdentity("next", 30.0), app.registry.load_head)
    assert not take_back(app.engine, claim.uuid, again.nonce, "it never was away")
    assert document(app, claim)["lost"] == 1


def test_an_ended_job_is_left_as_it_is(app: zerog.App) -> None:
    claim = rescued(app)
    app.cancel(claim.uuid)
    before = document(app, claim)
    assert not take_back(app.engine, claim.uuid, claim.nonce, "it is back")
    assert document(app, claim) == before


def test_a_lost_answer_takes_back_once(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = rescued(app)
    app.engine.claim(1, WorkerIdentity("next", 30.0), app.registry.load_head)
    datastore, mutate = app.datastore, app.datastore.mutate
    assert app.engine.rescue(claim.uuid, RunGuard.of(app.engine.read(claim.uuid)[0]), "lost", "another one")
    answers = [True]

    def unanswered(*args: Any, **kwargs: Any) -> Any:
        mutation = mutate(*args, **kwargs)
        if answers:
            answers.pop()
            raise AmbiguousWrite("the connection broke")
        return mutation

    monkeypatch.setattr(datastore, "mutate", unanswered)
    take_back(app.engine, claim.uuid, claim.nonce, "it is back")
    assert (document(app, claim)["lost"], answers) == (1, [])


def test_a_datastore_that_can_t_find_leaves_the_jobs_to_their_leases(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(app.datastore), "can_find", False)
    [claim] = claims(app, "gone", 1)
    assert bury(app.engine, "gone", was_stopping=False) == []
    assert document(app, claim)["owner"]["worker"] == "gone"


def test_one_job_that_can_t_be_taken_keeps_no_other(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and its lease decides; however many pages of running jobs there are."""
    gone = claims(app, "gone", 3)
    find, rescue = app.datastore.find, app.engine.rescue
    monkeypatch.setattr(app.datastore, "find", lambda query: find(replace(query, limit=1)))

    def refuse(uuid: str, *arguments: Any) -> bool:
        if uuid == gone[1].uuid:
            raise CorruptDocument("made up: it makes no sense")
        return rescue(uuid, *arguments)

    monkeypatch.setattr(app.engine, "rescue", refuse)
    taken = bury(app.engine, "gone", was_stopping=False)
    assert sorted(taken) == sorted([gone[0].uuid, gone[2].uuid])
    assert app.engine.counters["sweep.left"] == 1


def test_a_document_that_changes_all_the_time_keeps_its_count(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = rescued(app)

    def refuse(*_: Any, **__: Any) -> Any:
        raise app.datastore.casException("made up: it was changed")

    monkeypatch.setattr(app.datastore, "mutate", refuse)
    with pytest.raises(zerog.TooManyCollisions):
        take_back(app.engine, claim.uuid, claim.nonce, "it is back")
    assert document(app, claim)["lost"] == 1
