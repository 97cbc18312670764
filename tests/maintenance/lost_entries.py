"""Waiting jobs, and queues that lose their entries."""

from __future__ import annotations

from typing import Any

from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.queue import Entry, Queue, Reservation
from zerog.engine.engine import Engine
from zerog.engine.transitions import WorkerIdentity
from zerog.records.job import new_document
from zerog.support.clock import to_text

ALICE = WorkerIdentity("alice", 30.0)


class Silent(MemoryQueue):
    """A queue that can't look up its entries."""

    def queue_named(self, name: str) -> MemoryQueue:
        return self if name == self.name else Silent(name, _family=self._family)

    def holds(self, entry: Entry) -> bool | None:  # type: ignore[override]
        return None


def submit(engine: Engine, number: int = 1, delay: float = 0, **fields: Any) -> list[str]:
    documents = [{**new_document("test", 1.0, to_text(engine.clock.now())), **fields} for _ in range(number)]
    return [document["uuid"] for document, _ in engine.submit(documents, delay)]


def take(engine: Engine, want: int = 50, queues: Any = ()) -> list[str]:
    return [claim.uuid for claim in engine.claim(want, ALICE, lambda head: head["jobType"], queues)]


def lose(engine: Engine, name: str = "default") -> None:
    engine.queue_named(name).flush()  # type: ignore[attr-defined]


def reserved(queue: Queue) -> Reservation:
    reservation = queue.reserve()
    assert reservation is not None
    return reservation
