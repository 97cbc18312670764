"""A store that was set back repeats epochs: whatever the order of the writes, no document mixes two runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.contracts.test_datastore import ForeignStore
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore, RunGuard
from zerog.contracts.foreign import as_datastore
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, claimed, settled, waiting
from zerog.exceptions import ClaimLost
from zerog.records.job import make_key, new_document
from zerog.records.operations import Append, Operation, apply

NOW = "2026-01-01T00:00:00.000000+00:00"
UUID = "0198c0de-0000-7000-8000-000000000001"


def setback_machine(new_datastore: Callable[[], Datastore]) -> type[RuleBasedStateMachine]:
    class SetBack(RuleBasedStateMachine):
        """One job; its store is set back to earlier moments while runs of it write, settle and repeat."""

        def __init__(self) -> None:
            super().__init__()
            self.datastore = new_datastore()
            self.key = make_key(UUID)
            self.runs: list[Claim] = []
            self.moments: list[dict[str, Any]] = []

        def teardown(self) -> None:
            self.datastore.close()

        @initialize()
        def submit(self) -> None:
            document = new_document("test", 1.0, NOW, UUID)
            apply(document, waiting(NOW, 0))
            self.datastore.create(self.key, document)

        @rule()
        def remember(self) -> None:
            self.moments.append(self.datastore.read(self.key) or {})

        @rule(which=st.integers(0, 9))
        def set_back(self, which: int) -> None:
            if self.moments:
                self.datastore.set(self.key, self.moments[which % len(self.moments)])

        @rule()
        def claim(self) -> None:
            head, token = self.datastore.read_with_cas(self.key, head=True)
            assert head is not None and token is not None
            if head["owner"] is None and head["status"] == "queued":
                nonce = f"n{len(self.runs)}"
                operations = claimed(head, WorkerIdentity("w", 30.0), nonce, NOW)
                token = self.datastore.mutate(self.key, operations, cas=token).token
                self.runs.append(Claim(self.key, UUID, head["epoch"] + 1, nonce, token, head))

        @rule(which=st.integers(0, 9), end=st.sampled_from(["", "", "finish", "requeue"]), times=st.integers(1, 2))
        def write(self, which: int, end: str, times: int) -> None:
            """The next write of a run, or the last one again, as after a lost answer."""
            if not self.runs:
                return
            claim = self.runs[which % len(self.runs)]
            entry = [claim.epoch, claim.nonce, claim.seq + 1]
            operations: list[Operation] = [Append("events", entry)]
            if end:
                operations = settled(Settlement(claim, end, claim.seq + 1, 200, operations=operations), NOW)
            for _ in range(times):
                try:
                    self.datastore.mutate(self.key, operations, run=claim.run._replace(seq=claim.seq + 1))
                except ClaimLost:
                    break
                document = self.datastore.read(self.key)
                assert document is not None and entry in document["events"], "done, and not stored"
            claim.seq += 1 if times == 2 else 0  # else its answer was lost, and it is repeated under its number

        @invariant()
        def no_epoch_has_two_runs(self) -> None:
            entries = (self.datastore.read(self.key) or {"events": []})["events"]
            for _, of_epoch in itertools.groupby(entries, key=lambda entry: entry[0]):
                ledger = [(nonce, seq) for _, nonce, seq in of_epoch]
                assert ledger == [(ledger[0][0], seq) for seq in range(1, len(ledger) + 1)]

    return SetBack


STORES = {"memory": MemoryDatastore, "foreign": lambda: as_datastore(ForeignStore())}


def explore(new_datastore: Callable[[], Datastore], examples: int) -> None:
    run_state_machine_as_test(
        setback_machine(new_datastore),
        settings=settings(max_examples=examples, stateful_step_count=40, deadline=None),
    )


@pytest.mark.parametrize("name", STORES)
def test_no_document_mixes_two_runs(name: str) -> None:
    explore(STORES[name], 60)


def test_no_document_mixes_two_runs_sqlite(tmp_path: Any) -> None:
    numbers = itertools.count()
    explore(lambda: SqliteDatastore(tmp_path / f"{next(numbers)}.db", synchronous="normal"), 20)


def test_a_number_is_of_its_run() -> None:
    """After a set-back both runs have the same epoch and number; each is answered by its nonce."""
    datastore = MemoryDatastore()
    datastore.create("key", {"epoch": 1, "seq": 4, "owner": {"nonce": "new"}, "run": "new"})
    with pytest.raises(ClaimLost):
        datastore.mutate("key", [], run=RunGuard(1, "old", 4))
    assert datastore.mutate("key", [], run=RunGuard(1, "new", 4)).values == {}
