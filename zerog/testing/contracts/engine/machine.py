"""The engine as a model: random lives of jobs, with every late and repeated call of a real system.

After each step the promises are checked on the documents themselves; at the end a healthy worker and its reconciler
must bring every accepted job to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, is_to_pause
from zerog.exceptions import ClaimLost, JobNotFound, JobStateError
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import PAUSED, TERMINAL, Document, make_key, new_document
from zerog.records.operations import Add, Append, Operation
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine.builders import ALICE, BOB

_WORKERS = (ALICE, BOB)
_COUNTERS = ("attempts", "errorCount", "continues", "crashes", "lost")
_delays = st.sampled_from([0, 0, 0, 5, 60])


def engine_machine(new_engine: Callable[[ManualClock, int], Engine]) -> type[RuleBasedStateMachine]:
    """Return the machine for one kind of engine; ``new_engine`` makes an empty one that uses the given clock, and the
    given seed for its random choices."""

    class EngineMachine(RuleBasedStateMachine):
        uuids = Bundle("uuids")
        claims = Bundle("claims")

        @initialize(seed=st.integers(0, 999))
        def begin(self, seed: int) -> None:
            self.clock = ManualClock()
            self.engine = new_engine(self.clock, seed)
            self.reconciler = Reconciler(self.engine, "sweeper", self.clock)
            self.accepted: list[str] = []
            self.before: dict[str, Document] = {}
            self.writes: dict[str, int] = {}

        # clients

        @rule(target=uuids, delay=_delays, priority=st.integers(-1, 1))
        def submit(self, delay: float, priority: int) -> str:
            document = new_document("test", 1.0, to_text(self.clock.now()))
            self.engine.submit([{**document, "priority": priority}], delay)
            self.accepted.append(document["uuid"])
            return str(document["uuid"])

        @rule(uuid=uuids)
        def cancel(self, uuid: str) -> None:
            with suppress(JobStateError, JobNotFound):
                self.engine.cancel(uuid)

        @rule(uuid=uuids)
        def retry(self, uuid: str) -> None:
            with suppress(JobStateError, JobNotFound):
                self.engine.retry(uuid)
                self.before.pop(uuid, None)

        @rule(uuid=uuids)
        def pause(self, uuid: str) -> None:
            with suppress(JobStateError, JobNotFound):
                self.engine.pause(uuid)
                assert self._is_paused(uuid), "a pause had no effect"

        @rule(uuid=uuids)
        def resume(self, uuid: str) -> None:
            with suppress(JobStateError, JobNotFound):
                self.engine.resume(uuid)
                assert not self._is_paused(uuid), "a job was resumed and is still paused"

        @rule(uuid=uuids)
        def discard(self, uuid: str) -> None:
            """Only ended jobs are removed, and only here."""
            with suppress(JobStateError, JobNotFound):
                self.engine.discard(uuid)
                assert self.before.pop(uuid)["status"] in TERMINAL, "a job was removed before its end"
                self.accepted.remove(uuid)

        # workers

        @rule(target=claims, want=st.integers(1, 3), worker=st.sampled_from(_WORKERS))
        def claim(self, want: int, worker: WorkerIdentity) -> Any:
            claims = self.engine.claim(want, worker, lambda head: head["jobType"])
            assert len(claims) <= want
            begun = [claim.uuid for claim in claims if self.before[claim.uuid].get("paused") is not None]
            assert not begun, f"paused jobs were begun: {begun}"
            return multiple(*claims)

        @rule(claim=claims)
        def write(self, claim: Claim) -> None:
            """Make a run's write, sent twice, as after a lost answer."""
            operations: list[Operation] = [Append("events", {"epoch": claim.epoch}), Add("writes", 1)]
            owned = self._owns(claim)
            try:
                for _ in range(2):
                    self.engine.datastore.mutate(claim.key, operations, run=claim.run._replace(seq=claim.seq + 1))
            except ClaimLost:
                assert not owned, "the owner's own write was refused"
                return
            assert owned, "a write of a run that lost its job was applied"
            claim.seq += 1
            self.writes[claim.uuid] = self.writes.get(claim.uuid, 0) + 1

        @rule(claim=consumes(claims), kind=st.sampled_from(["finish", "requeue", "release"]), again=st.booleans())
        def settle(self, claim: Claim, kind: str, again: bool) -> None:
            settlement = Settlement(claim, kind, claim.seq + 1, result_code=200, delay=0)
            owned = self._owns(claim)
            assert self.engine.settle([settlement]) == [owned]
            if again and kind == "finish":
                assert self.engine.settle([settlement]) == [owned]

        @rule(claim=claims, counter=st.sampled_from(["crashes", "lost"]))
        def rescue(self, claim: Claim, counter: str) -> None:
            owned = self._owns(claim)
            assert self.engine.rescue(claim.uuid, claim.run, counter, "gone") == owned

        # faults

        @rule(uuid=uuids)
        def repeat_delivery(self, uuid: str) -> None:
            self.engine.queue.put(uuid)

        @rule()
        def lose_queue(self) -> None:
            while (reservation := self.engine.queue.reserve(0)) is not None:
                reservation.delete()

        @rule(seconds=st.sampled_from([1, 6, 31, 70]))
        def pass_time(self, seconds: float) -> None:
            self.clock.advance(seconds)

        @rule()
        def sweep(self) -> None:
            self.reconciler.sweep()

        def _owns(self, claim: Claim) -> bool:
            head = self.engine.datastore.read(claim.key)
            return head is not None and head["epoch"] == claim.epoch and head["owner"] is not None

        def _is_paused(self, uuid: str) -> bool:
            head = self.engine.read(uuid)[0]
            return head["status"] == PAUSED or is_to_pause(head)

        # invariants after every step

        @invariant()
        def promises_hold(self) -> None:
            for uuid in getattr(self, "accepted", []):
                document = self.engine.datastore.read(make_key(uuid))
                assert document is not None, "an accepted job is lost"
                earlier = self.before.get(uuid)
                if earlier is not None:
                    assert document["epoch"] >= earlier["epoch"], "an epoch went back"
                    if earlier["status"] in TERMINAL:
                        assert document == earlier, "a job that had ended was changed"
                    if earlier["status"] == PAUSED:
                        self._check_kept(document, earlier)
                is_paused = document["status"] == PAUSED or is_to_pause(document)
                assert (document.get("paused") is not None) == is_paused, "a pause without the job, or the reverse"
                assert (document["owner"] is not None) == (document["status"] == "running")
                written = [event for event in document["events"] if "epoch" in event]
                assert len(written) == document.get("writes", 0) == self.writes.get(uuid, 0), "a write was doubled"
                self.before[uuid] = document

        def _check_kept(self, document: Document, earlier: Document) -> None:
            """Check that a paused job stays as it is, or leaves that state as it was."""
            if document["status"] == PAUSED:
                assert document == earlier, "a paused job was changed"
            assert document["status"] != "running", "a paused job was begun"
            kept, was = ([each[counter] for counter in _COUNTERS] for each in (document, earlier))
            assert kept == was, "a paused job lost its counters"

        def teardown(self) -> None:
            if not hasattr(self, "engine"):
                return
            self._bring_to_an_end()
            self.engine.close()

        def _bring_to_an_end(self) -> None:
            for uuid in self.accepted:
                self.resume(uuid)
            reconciler = Reconciler(self.engine, "healthy", self.clock)
            for _ in range(30):
                heads = [self.engine.read(uuid)[0] for uuid in self.accepted]
                if all(head["status"] in TERMINAL for head in heads):
                    return
                reconciler.sweep()
                claims = self.engine.claim(50, _WORKERS[0], lambda head: head["jobType"])
                results = self.engine.settle([Settlement(claim, "finish", 1, 200) for claim in claims])
                assert all(results), "a healthy run was disturbed"
                self.clock.advance(20)
            raise AssertionError(f"jobs that never end: {[head for head in heads if head['status'] not in TERMINAL]}")

    return EngineMachine
