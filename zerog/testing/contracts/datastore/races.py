"""Rules about concurrent writers; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from zerog.contracts.datastore import Datastore, RunGuard
from zerog.exceptions import ClaimLost
from zerog.records.operations import Add, Append, Operation, Set

THREADS = 8
ROUNDS = 12


class RaceRules:
    """Rules for threads that write to one document at the same time."""

    def race(self, count: int, call: Any) -> list[Any]:
        """Return the results of ``call(n)`` in each of so many threads that start together."""
        barrier = Barrier(count)

        def run(n: int) -> Any:
            barrier.wait()
            return call(n)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    def test_one_creates(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Of many that create one document at once exactly one succeeds, and its document is the stored one."""

        def create(n: int) -> int | None:
            try:
                return (datastore, another)[n % 2].create(key, {"by": n})
            except datastore.casException:
                return None

        tokens = self.race(THREADS, create)
        (winner,) = [n for n, token in enumerate(tokens) if token is not None]
        assert datastore.read_with_cas(key) == ({"by": winner}, tokens[winner])

    def test_one_replaces(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Of many that write over one token at once exactly one succeeds."""
        token = datastore.create(key, {"by": None})

        def replace(n: int) -> bool:
            try:
                return (datastore, another)[n % 2].set_with_cas(key, {"by": n}, token)[0]
            except datastore.casException:
                return False

        results = self.race(THREADS, replace)
        assert results.count(True) == 1
        assert datastore.read(key) == {"by": results.index(True)}

    def test_sums_and_lists(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Concurrent changes of counters and lists lose nothing, and each thread's entries keep their order."""
        datastore.create(key, {"n": 0, "attempts": 0, "events": []})

        def change(thread: int) -> list[int]:
            handle = (datastore, another)[thread % 2]
            tokens = []
            for n in range(ROUNDS):
                operations: list[Operation] = [
                    Add("n", 1),
                    Add("attempts", 2),
                    Append("events", [thread, n]),
                    Set(f"by{thread}", n),
                ]
                tokens.append(handle.mutate(key, operations).token)
            return tokens

        tokens = [token for tokens in self.race(THREADS, change) for token in tokens]
        document = datastore.read(key)
        assert document is not None
        events = document.pop("events")
        assert document == {
            "n": THREADS * ROUNDS,
            "attempts": 2 * THREADS * ROUNDS,
            **{f"by{thread}": ROUNDS - 1 for thread in range(THREADS)},
        }
        for thread in range(THREADS):
            assert [n for by, n in events if by == thread] == list(range(ROUNDS))
        assert len(set(tokens)) == THREADS * ROUNDS == len(events)

    def test_no_number_twice(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A run write sent concurrently, as repetitions of an unanswered one, is applied once."""
        datastore.create(key, {"epoch": 1, "seq": 0, "owner": {"nonce": "n"}, "n": 0, "events": []})
        for seq in range(1, ROUNDS + 1):

            def write(n: int, seq: int = seq) -> Any:
                operations: list[Operation] = [Add("n", 1), Append("events", seq)]
                return (datastore, another)[n % 2].mutate(key, operations, run=RunGuard(1, "n", seq))

            assert len({repr(answer) for answer in self.race(THREADS, write)}) == 1
        expected = {
            "epoch": 1,
            "seq": ROUNDS,
            "owner": {"nonce": "n"},
            "n": ROUNDS,
            "events": list(range(1, ROUNDS + 1)),
        }
        assert datastore.read(key) == expected

    def test_claims_and_writes(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """While some threads claim the document, no write is applied under a past epoch."""
        datastore.create(key, {"epoch": 0, "seq": 0, "owner": None, "events": []})

        def run(thread: int) -> int:
            handle = (datastore, another)[thread % 2]
            applied = 0
            for _ in range(4):
                head, token = handle.read_with_cas(key, head=True)
                assert head is not None
                epoch = head["epoch"] + 1
                try:
                    owner = Set("owner", {"nonce": f"{epoch}-{thread}"})
                    handle.mutate(key, [Set("epoch", epoch), Set("seq", 0), owner], cas=token)
                    for seq in range(1, 5):
                        run = RunGuard(epoch, f"{epoch}-{thread}", seq)
                        handle.mutate(key, [Append("events", [epoch, seq, thread])], run=run)
                        applied += 1
                except (datastore.casException, ClaimLost):
                    pass
            return applied

        applied = sum(self.race(THREADS, run))
        document = datastore.read(key)
        assert document is not None
        events = document["events"]
        assert applied == len(events)
        assert [(epoch, seq) for epoch, seq, _ in events] == sorted({(epoch, seq) for epoch, seq, _ in events})

    def test_readers_see_whole_writes(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A reader sees all of a concurrent write or none of it, in head and history."""
        datastore.create(key, {"a": 0, "attempts": 0, "events": []})

        def run(thread: int) -> bool:
            if thread % 2:
                for _ in range(ROUNDS):
                    datastore.mutate(key, [Add("a", 1), Add("attempts", 1), Append("events", 0)])
                return True
            seen = [another.read(key) for _ in range(3 * ROUNDS)]
            return all(each and each["a"] == each["attempts"] == len(each["events"]) for each in seen)

        assert all(self.race(THREADS, run))
