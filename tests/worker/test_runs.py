"""The figures of one worker: what counts as a run, and since when a job has waited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.engines import EACH_KIND, KINDS
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.engine.transitions import Settlement, WorkerIdentity, given_back
from zerog.records.job import new_document
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.worker.runs import Tally


@pytest.mark.parametrize("kind", EACH_KIND)
def test_a_delay_that_was_asked_for_is_no_wait(kind: str, tmp_path: Path) -> None:
    """A job waits from when it could be taken: 5 seconds of 65."""
    clock = ManualClock()
    engine = KINDS[kind].open(tmp_path, clock)
    for delay in (0, 60):
        engine.submit([new_document("a", 1.0, to_text(clock.now()))], delay)
        clock.advance(delay + 5)
        worker = WorkerIdentity("alice", 30.0, None, (("a", 1.0),))
        [claim] = engine.claim(1, worker, lambda head: head["jobType"])
        assert engine.load_claim(claim, lambda head: head["jobType"]) in (None, True)
        tally = Tally(engine.datastore)
        tally.settled([Settlement(claim, "finish", 1, 200, seconds=2.5)], ["succeeded"])
        [runs, ran, waited, *classes] = tally.to_record()["types"]["a"]["succeeded"]
        assert (runs, ran, sum(classes)) == (1, 2_500, 1)
        assert 4_000 <= waited <= 7_000, f"after a delay of {delay} s"
        engine.settle([Settlement(claim, "finish", 1, 200)])
    engine.close()


def test_what_was_given_back_unbegun_is_no_run() -> None:
    clock = ManualClock()
    engine = KINDS["memory"].open(Path(), clock)
    engine.submit([new_document("a", 1.0, to_text(clock.now()))])
    [claim] = engine.claim(1, WorkerIdentity("alice", 30.0), lambda head: head["jobType"])
    tally = Tally(engine.datastore)
    tally.settled([given_back(claim)], ["released"])
    assert tally.to_record()["types"] == {}


def test_collisions_are_taken_once() -> None:
    """By the worker whose turn comes first, of those that share a datastore."""
    datastore = MemoryDatastore()
    datastore.give_way()
    first, second = Tally(datastore), Tally(datastore)
    assert (first.to_record()["collisions"], second.to_record()["collisions"]) == (1, 0)
    assert first.to_record()["collisions"] == 1
