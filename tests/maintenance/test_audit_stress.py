"""The audit beside a worker with a thousand runs, whose calls fail, are answered late or not at all.

A fetcher, heartbeats and a sweeper run as fast as they can in threads; only the executor is made up, which keeps runs
until they are to end. The engine's clock stands still, so that no lease expires and the audit alone gives jobs back.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import KINDS
from tests.marks import wide
from tests.processes import until
from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Step, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import Document, new_document
from zerog.records.keys import worker_key
from zerog.records.operations import Add
from zerog.support.clock import SYSTEM, to_text
from zerog.testing.clock import ManualClock
from zerog.worker.fetcher import Fetcher
from zerog.worker.outcome import Outcome

WORKER = WorkerIdentity("alice", 0.5, knows=(("long", 1.0), ("brief", 1.0)))

LONG, BRIEF = 1_000, 600


class Runs:
    """An executor of runs that begin at once, and end on request."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self.running: dict[str, Claim] = {}

    def add(self, claims: Sequence[Claim], are_short: object = None) -> None:
        begun = [claim for claim in claims if self._fetcher.opened(claim)]
        with self._lock:
            self.running.update({claim.nonce: claim for claim in begun})

    def end(self, job_type: str, most: int) -> None:
        with self._lock:
            ending = [claim for claim in self.running.values() if claim.head["jobType"] == job_type][:most]
            for claim in ending:
                del self.running[claim.nonce]
        for claim in ending:
            outcome = Outcome("value", "finish", 200, operations=[Add("finishes", 1)], seq=claim.seq + 1)
            self._fetcher.done(claim, outcome, 0.01)

    def stop_of(self, _claim: Claim) -> None:
        return None

    def unstarted(self) -> int:
        return 0

    def take_unstarted(self, before: float = inf) -> list[Claim]:
        return []


class Background:
    """Calls that are repeated in threads, until the end of a block."""

    def __init__(self, *calls: Callable[[], object]) -> None:
        self._over = threading.Event()
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._repeat, args=(call,), daemon=True) for call in calls]

    def _repeat(self, call: Callable[[], object]) -> None:
        try:
            while not self._over.wait(0.001):
                call()
        except BaseException as error:
            self.failures.append(error)

    def __enter__(self) -> Background:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


class Stage:
    """An engine whose calls by the worker fail by a dice, the worker, and what the audit has given back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.fetcher = Fetcher(engine, WORKER, lambda head: head["jobType"], (), LONG + 50, SYSTEM, lambda: True)
        self.runs = Runs(self.fetcher)
        self.fetcher.serve(self.runs)  # type: ignore[arg-type]
        self.given_back: list[str] = []
        self.is_rough, self.lost, self.late, self.outages = True, 0, 0, 0
        self.answered: set[str] = set()
        """The nonces of all claims that were answered."""
        self._fates = itertools.cycle(("", "lost", "", "late", "", "away"))
        self._dice = random.Random(13)
        self._beat = self._sweeps = 0
        self._step, self._give_back = engine.step, engine.give_back_unheld
        engine.step = self.step  # type: ignore[method-assign]
        engine.give_back_unheld = self.give_back  # type: ignore[method-assign]
        self._reconciler = Reconciler(engine, "sweeper", engine.clock)

    def submit(self, job_type: str, number: int) -> None:
        now = to_text(self.engine.clock.now())
        for _ in range(0, number, 100):
            self.engine.submit([new_document(job_type, 1.0, now) for _ in range(100)])

    def beat(self) -> None:
        """As the worker's lease does; an outage takes every tenth."""
        if self.is_rough and self._dice.random() < 0.1:
            return
        self._beat = WorkerRecords(self.engine).renew(WORKER, self._beat + 1, self.fetcher.holdings.record)

    def sweep(self) -> None:
        """Now and then the sweeper stands still, until many beats later."""
        if self.is_rough and self._dice.random() < 0.1:
            self.wait_for_beats(20)
        self._reconciler.sweep()
        self._sweeps += 1

    def wait_for_beats(self, number: int) -> None:
        before = self._beat
        until(lambda: self._beat >= before + number, 60)

    def step(self, *args: Any, **kwargs: Any) -> Step:
        fate = next(self._fates) if self.is_rough else ""
        if fate == "away":
            self.outages += 1
            raise DatastoreUnavailable("made up: out of reach, so that runs that have ended wait to be settled")
        step = self._step(*args, **kwargs)
        if fate == "lost":
            self.lost += 1
            raise AmbiguousWrite("made up: done, and the answer was lost")
        self.answered.update(claim.nonce for claim in step.claims)
        if fate == "late":
            self.late += 1
            before = self._sweeps
            until(lambda: self._sweeps >= before + 4, 60)
        return step

    def give_back(self, uuid: str, run: RunGuard, token: int, message: str) -> bool:
        given_back = self._give_back(uuid, run, token, message)
        if given_back:
            self.given_back.append(str(run.nonce))
        return given_back

    def heads(self, job_type: str) -> list[Document]:
        heads: list[Document] = []
        page = self.engine.datastore.find(FindQuery(limit=500))
        while True:
            heads += [head for head in page.heads if head["jobType"] == job_type]
            if page.after is None:
                return heads
            page = self.engine.datastore.find(FindQuery(limit=500, after=page.after))

    def have_ended(self, job_type: str) -> bool:
        return {head["status"] for head in self.heads(job_type)} == {"succeeded"}


@pytest.mark.parametrize("kind", wide("sqlite", "redis", "two-files"))
@pytest.mark.timeout(300)
def test_nothing_held_or_finished_is_given_back_and_nothing_unheld_stays(kind: str, tmp_path: Path) -> None:
    """A thousand runs are held while hundreds are claimed and end beside them."""
    engine = KINDS[kind].open(tmp_path, ManualClock())
    stage = Stage(engine)
    stage.submit("long", LONG)
    with Background(stage.beat, stage.sweep, lambda: stage.runs.end("brief", 5)) as background:
        until(lambda: stage._beat > 0)
        stage.fetcher.start()
        stage.fetcher.claim_from(["default"])
        until(lambda: len(stage.runs.running) >= LONG, 60)
        for _ in range(20):
            stage.submit("brief", BRIEF)
            until(lambda: stage.have_ended("brief"), 120)
            if stage.given_back:  # a call whose answer was lost had claimed a job, and no later one found it again
                break
        stage.is_rough = False
        until(lambda: {head["status"] for head in stage.heads("long")} == {"running"}, 60)
        stage.wait_for_beats(10)
        held = {claim.uuid for claim in stage.runs.running.values()}
        assert held == {head["uuid"] for head in stage.heads("long")}
        until(lambda: (engine.datastore.read(worker_key(WORKER.name)) or {})["held"] == sorted(stage.runs.running), 60)
        with Background(lambda: stage.runs.end("long", 50)):
            until(lambda: stage.have_ended("long"), 60)
        assert stage.fetcher.close(20)
    assert background.failures == [] and stage.fetcher.failure is None
    ended = stage.heads("long") + stage.heads("brief")
    assert {(head["finishes"], head["lost"], head["crashes"], head["attempts"]) for head in ended} == {(1, 0, 0, 1)}
    assert not stage.answered & set(stage.given_back), "a run was given back that its worker held"
    assert min(stage.lost, stage.late, stage.outages) > 1
    assert len(stage.given_back) > 0, "no unheld run was made, so that none could stay"
    engine.close()
