"""Lives of jobs that pass every crash point, and what must hold afterwards whatever died on the way.

Run as a program it plays the lives in a separate process, which a crash point may kill:
``python scenario.py KIND FOLDER POINT ACTION``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.engine.engines import KINDS
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.operator import Change
from zerog.engine.run import Run
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, waiting
from zerog.exceptions import Cancelled
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import TERMINAL, Document, make_key, new_document
from zerog.records.operations import Add, Append, Set, apply
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

KNOWN = (("test", 1.0),)
FIRST, SECOND = WorkerIdentity("first", 30.0, knows=KNOWN), WorkerIdentity("second", 30.0, knows=KNOWN)


def accept(head: Document) -> str:
    return str(head["jobType"])


class Lives:
    """Plays jobs through every transition; records which were accepted before it dies."""

    def __init__(self, engine: Engine, accepted: Path | None = None) -> None:
        self.engine = engine
        self._accepted = accepted

    def play(self) -> None:
        finishing, requeued, cancelled, crashed = (self.submit(n) for n in range(4))
        claims = {claim.uuid: claim for claim in self.engine.claim(4, FIRST, accept)}
        self.finish(claims[finishing])
        self.discard(finishing)
        again = claims[requeued]
        self.settle(Settlement(again, "requeue", self.work(again), operations=[Add("continues", 1)]))
        self.engine.cancel(cancelled)
        self.finish(claims[cancelled])
        self.engine.rescue(crashed, claims[crashed].run, "crashes", "it died")
        for claim in self.engine.claim(4, FIRST, accept):
            self.finish(claim)
        mended = self.submit(5, delay=100.0)
        self.engine.edit(mended, lambda _head: Change([Set("number", 6)], {"number": {}}), "alice", "it was wrong")
        self.engine.cancel(mended)
        self.engine.put_again_all([self.leave_pending()], "its writer did not")

    def submit(self, number: int, delay: float = 0) -> str:
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        document["number"] = number
        self.engine.submit([document], delay)
        self.write_down(document["uuid"])
        return str(document["uuid"])

    def leave_pending(self) -> str:
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        apply(document, waiting(document["createdAt"], 0))
        self.engine.datastore.create(make_key(document["uuid"]), document)
        self.write_down(document["uuid"])
        return str(document["uuid"])

    def discard(self, uuid: str) -> None:
        self.write_down(f"-{uuid}")  # from here on it may be gone
        self.engine.discard(uuid)

    def write_down(self, line: str) -> None:
        assert self._accepted is not None
        with self._accepted.open("a") as file:
            file.write(f"{line}\n")

    def work(self, claim: Claim) -> int:
        """Make the run's own writes; return the number of the settling one."""
        run = Run(self.engine.datastore, claim.key, claim.run, clock=self.engine.clock)
        run.write([Append("events", {"epoch": claim.epoch}), Add("worked", 1)])
        seq = run.close()
        assert seq == 2
        return seq

    def finish(self, claim: Claim) -> None:
        status = "cancelled" if self.engine.read(claim.uuid)[0]["cancelRequested"] else None
        code = 410 if status else 200
        try:
            seq = self.work(claim)
        except Cancelled:
            seq = 2
        settlement = Settlement(
            claim, "finish", seq, code, status=status, operations=[Add("finishes", 1), Set("output", claim.epoch)]
        )
        self.settle(settlement)

    def settle(self, settlement: Settlement) -> None:
        """Send a settlement as a worker does: again under the same numbers while it isn't answered."""
        for _ in range(5):
            [answer] = self.engine.settle([settlement])
            if not isinstance(answer, Exception):
                return
        raise answer


def recover(engine: Engine, clock: ManualClock, worker: WorkerIdentity = SECOND) -> None:
    """Run a healthy worker and its reconciler until nothing waits or runs any more."""
    lives = Lives(engine)
    reconciler = Reconciler(engine, worker.name, clock)
    for _ in range(20):
        reconciler.sweep()
        for claim in engine.claim(50, worker, accept):
            lives.finish(claim)
        clock.advance(20)
        if all(head["status"] in TERMINAL for head in engine.datastore.find(FindQuery()).heads):
            return
    raise AssertionError(f"some jobs never ended: {engine.datastore.find(FindQuery()).heads}")


def check(engine: Engine, accepted: list[str]) -> None:
    """Nothing accepted is lost, every result is stored once and is the last owner's, no write is doubled."""
    for uuid in accepted:
        document = engine.datastore.read(make_key(uuid))
        assert document is not None, f"{uuid} was accepted and is lost"
    for head in engine.datastore.find(FindQuery()).heads:
        document = engine.datastore.read(make_key(head["uuid"])) or {}
        assert document["status"] in ("succeeded", "cancelled"), document
        assert document["owner"] is None
        finishes = document.get("finishes", 0)
        assert finishes == 1 or (finishes == 0 and document["status"] == "cancelled"), document
        if finishes:
            assert document["output"] == document["epoch"], "the result is not the last owner's"
        epochs = [event["epoch"] for event in document["events"] if "epoch" in event]
        assert len(epochs) == document.get("worked", 0), "a list and a counter disagree"
        assert len(epochs) == len(set(epochs)), "a write was applied twice"
        assert document["continues"] <= 1
        assert document["crashes"] <= 1


if __name__ == "__main__":
    kind, folder, point, action = sys.argv[1:]
    the_engine = KINDS[kind].open(Path(folder), ManualClock())
    failpoints.arm(point, action)
    Lives(the_engine, Path(folder) / "accepted").play()
    sys.exit("the crash point was not reached")
