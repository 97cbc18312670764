"""Lives of jobs that pass every crash point, and what must hold afterwards whatever died on the way.

Run as a program it plays the lives in a separate process, which a crash point may kill:
``python scenario.py KIND FOLDER POINT ACTION``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.engine.engines import KINDS
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.followers import follow, is_to_be_followed
from zerog.engine.operator import Change
from zerog.engine.run import Run
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, is_to_pause, waiting
from zerog.exceptions import Cancelled
from zerog.maintenance.losses import take_back
from zerog.maintenance.reconcile import Reconciler
from zerog.records.attrs import Term
from zerog.records.fields import NEW
from zerog.records.job import PAUSED, TERMINAL, Document, make_key, new_document, new_uuid
from zerog.records.limits import NO_LIMITS, Limit, Limits
from zerog.records.operations import Add, Append, Put, Set, apply
from zerog.records.unique import unique_lock
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine.found import check_found

KNOWN = (("test", 1.0),)
FIRST, SECOND = WorkerIdentity("first", 30.0, knows=KNOWN), WorkerIdentity("second", 30.0, knows=KNOWN)
STRANGER = WorkerIdentity("stranger", 30.0, knows=(("other", 1.0),))


def accept(head: Document) -> str:
    return str(head["jobType"])


def refuse(head: Document) -> str:
    raise Unsuitable(f"type {head['jobType']} is unknown to the stranger")


def enqueued(engine: Engine) -> list[Document]:
    """The heads of all jobs that were ever enqueued."""
    return [head for head in engine.datastore.find(FindQuery()).heads if head["status"] != NEW]


class Lives:
    """Plays jobs through every transition; records which were accepted before it dies."""

    def __init__(self, engine: Engine, accepted: Path | None = None) -> None:
        self.engine = engine
        self._accepted = accepted

    def play(self) -> None:
        finishing, requeued, cancelled, crashed, lost, unaware = (self.submit(n) for n in range(6))
        claims = {claim.uuid: claim for claim in self.engine.claim(6, FIRST, accept)}
        self.finish(claims[finishing])
        self.discard(finishing)
        again = claims[requeued]
        self.settle(Settlement(again, "requeue", self.work(again), operations=[Add("continues", 1)]))
        self.engine.cancel(cancelled)
        self.finish(claims[cancelled])
        self.engine.rescue(crashed, claims[crashed].run, "crashes", "it died")
        self.engine.rescue(lost, claims[lost].run, "lost", "its worker was silent")
        take_back(self.engine, lost, claims[lost].nonce, "its worker is back")
        self.engine.cancel(unaware)
        self.settle(Settlement(claims[unaware], "requeue", 1))
        for claim in self.engine.claim(6, FIRST, accept):
            self.finish(claim)
        self.be_followed()
        self.expire()
        mended = self.submit(6, delay=100.0)
        self.engine.edit(mended, lambda _head: Change([Set("number", 6)], {"number": {}}), "alice", "it was wrong")
        self.engine.move(mended, priority=3)
        self.engine.cancel(mended)
        self.engine.retry(mended)
        self.engine.put_again_all([self.leave_pending()], "its writer did not")
        self.enqueue()
        self.be_unique()
        self.be_paused()
        self.be_limited()
        self.be_refused()

    def submit(self, number: int, delay: float = 0, **fields: Any) -> str:
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        document |= {"number": number, "attrs": {"number": str(number), "place": "new"}, **fields}
        self.engine.submit([document], delay)
        self.write_down(document["uuid"])
        return str(document["uuid"])

    def leave_pending(self) -> str:
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        apply(document, waiting(document["createdAt"], 0))
        self.engine.datastore.create(make_key(document["uuid"]), document)
        self.write_down(document["uuid"])
        return str(document["uuid"])

    def enqueue(self) -> None:
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        self.engine.datastore.create(make_key(document["uuid"]), document)
        self.engine.enqueue(document["uuid"])
        self.write_down(document["uuid"])

    def be_unique(self) -> None:
        """Submit a job of a key, give it other parameters, and remove it with its lock."""
        document = new_document("test", 1.0, to_text(self.engine.clock.now()))
        document |= {"number": 10, "uniqueLock": unique_lock("test", ["key"], "started")}
        [made] = self.engine.submit_unique([document])
        uuid = str(made.document["uuid"])
        self.write_down(uuid)
        again = {**document, "uuid": new_uuid()}
        self.engine.submit_unique([again], replace=lambda _head, _index: [Set("replaced", True)])
        self.engine.cancel(uuid)
        self.discard(uuid)

    def be_paused(self) -> None:
        """Pause a job that waits and one that runs, which is given back; and let both go on."""
        running, waiting = self.submit(11), self.submit(12, delay=50.0)
        claims = self.engine.claim(6, FIRST, accept)
        for uuid in (waiting, running):
            self.engine.pause(uuid, "the disk is full", "ann")
        for claim in claims:
            if claim.uuid == running:
                self.settle(Settlement(claim, "release", 1))
            else:
                self.finish(claim)
        for uuid in (waiting, running):
            self.engine.resume(uuid)

    def be_limited(self) -> None:
        """Run two jobs of a limit with one slot: the second one is parked, and woken."""
        limited = [self.submit(number) for number in (13, 14)]
        limits = Limits((Limit(("type", "test"), 1),))
        self.engine.limits_of = lambda head: limits if head["uuid"] in limited else NO_LIMITS
        for _ in range(2):
            for claim in self.engine.claim(6, FIRST, accept):
                self.finish(claim)

    def be_refused(self) -> None:
        """Have a job refused whose kind no earlier life has listed, with all others that wait."""
        assert self._accepted is not None
        self.submit(7, schemaVersion=1 / len(self._accepted.read_text()))
        self.engine.claim(1, STRANGER, refuse)

    def be_followed(self) -> None:
        """End a job and submit its follower, which waits for the next worker."""
        uuid = self.submit(8, follower="test")
        for claim in self.engine.claim(6, FIRST, accept):
            self.finish(claim)
        follow(self.engine, uuid)

    def expire(self) -> None:
        """End a job whose time is over while it waits."""
        expired = self.submit(9, expiresAt=to_text(self.engine.now()))
        self.engine.expire(expired)

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
        found_by = [
            Put("attrs", "place", "run"),
            Set("lastError", {"type": "Broken", "fingerprint": f"f{claim.epoch}"}),
        ]
        run.write([Append("events", {"epoch": claim.epoch}), Add("worked", 1), *found_by])
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
        last = [Add("finishes", 1), Set("output", claim.epoch), Put("attrs", "place", "settled")]
        settlement = Settlement(claim, "finish", seq, code, status=status, operations=last)
        self.settle(settlement)

    def settle(self, settlement: Settlement) -> None:
        """Send a settlement as a worker does: again under the same numbers while it isn't answered."""
        for _ in range(5):
            [answer] = self.engine.settle([settlement])
            if not isinstance(answer, Exception):
                self.engine.settle_slots([settlement])
                return
        raise answer


def recover(engine: Engine, clock: ManualClock, worker: WorkerIdentity = SECOND) -> None:
    """Run a healthy worker and its reconciler until nothing waits or runs any more; what is paused is let go on."""
    lives = Lives(engine)
    reconciler = Reconciler(engine, worker.name, clock)
    for _ in range(20):
        reconciler.sweep()
        for head in enqueued(engine):
            if head["status"] == PAUSED or is_to_pause(head):
                engine.resume(head["uuid"])
        for claim in engine.claim(50, worker, accept):
            lives.finish(claim)
        clock.advance(20)
        if all(head["status"] in TERMINAL and not is_to_be_followed(head) for head in enqueued(engine)):
            return
    raise AssertionError(f"some jobs never ended: {enqueued(engine)}")


def check(engine: Engine, accepted: list[str]) -> None:
    """Nothing accepted is lost, every result is stored once and is the last owner's, no write is doubled.

    Jobs are found by what their documents have.
    """
    check_found(engine.datastore, *(Term("place", place) for place in ("new", "run", "settled")))
    for uuid in accepted:
        document = engine.datastore.read(make_key(uuid))
        assert document is not None, f"{uuid} was accepted and is lost"
    followed = [head["uuid"] for head in enqueued(engine) if head["follower"]]
    parents = [head["parent"] for head in enqueued(engine) if head["parent"]]
    assert sorted(followed) == sorted(parents), "an end has not one follower"
    for head in enqueued(engine):
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
