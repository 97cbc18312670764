"""Waiting for several queues at once: what the suite of engines doesn't cover."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import until
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.contracts.queue import Queue, Reservation
from zerog.engine.engine import Engine
from zerog.engine.multiwait import MultiQueueWaiter
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import QueueUnavailable
from zerog.records.job import new_document, new_uuid
from zerog.support.clock import to_text

ALICE = WorkerIdentity("alice", 30.0)


class Held(Reservation):
    """A delivery that remembers whether it was released."""

    def __init__(self, trouble: bool = False) -> None:
        self.uuid = new_uuid()
        self.released = threading.Event()
        self._trouble = trouble

    def release(self, delay: float = 0) -> None:
        self.released.set()
        if self._trouble:
            raise QueueUnavailable("away")


class Scripted(Queue):
    """A queue that gives scripted entries on demand; ``asked`` while a thread waits for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = threading.Event()
        self.looks = 0
        """How often it was asked without a wait."""
        self._changed = threading.Condition()
        self._given: list[Reservation | Exception | None] = []

    def give(self, what: Reservation | Exception | None) -> None:
        with self._changed:
            self._given.append(what)
            self._changed.notify()

    def wake(self) -> None:
        self.give(None)

    def reserve(self, timeout: float = 0) -> Reservation | None:
        if not timeout:
            self.looks += 1
            return None
        self.asked.set()
        with self._changed:
            self._changed.wait_for(lambda: self._given)
            given = self._given.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


class Bench:
    """Two such queues, a waiting thread, and what it brought."""

    def __init__(self) -> None:
        self.queues = {"recorded-a": Scripted("recorded-a"), "recorded-b": Scripted("recorded-b")}
        self.listeners = MultiQueueWaiter(self.queues.__getitem__)
        self.brought: list[Reservation] = []
        self.trouble: list[Exception] = []
        self.waiting: threading.Thread | None = None

    def wait(self) -> None:
        """Begin a wait, and return once both queues are waited for."""
        self.waiting = threading.Thread(target=self._wait)
        self.waiting.start()
        for queue in self.queues.values():
            assert queue.asked.wait(20)
        until(lambda: self.listeners._wanted)  # the threads may be waiting since an earlier wait

    def _wait(self) -> None:
        try:
            self.brought += self.listeners.wait(20, ("recorded-a", "recorded-b"))
        except QueueUnavailable as error:
            self.trouble.append(error)

    def ended(self) -> None:
        assert self.waiting is not None
        self.waiting.join(20)
        assert not self.waiting.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.listeners.close()
    assert not listening()


def listening() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("zerog-listener-recorded-")]


def test_an_entry_after_the_end_of_a_wait_is_released(bench: Bench) -> None:
    """The waiter may be busy for hours; other workers must have it at once."""
    bench.wait()
    wanted, late = Held(), Held()
    bench.queues["recorded-b"].give(wanted)
    bench.ended()
    assert bench.brought == [wanted]
    bench.queues["recorded-a"].give(late)
    assert late.released.wait(20)
    assert not wanted.released.is_set()


def test_giving_back_may_fail(bench: Bench) -> None:
    """The queue then delivers it again after its time to run, and nothing else suffers."""
    bench.wait()
    bench.queues["recorded-b"].give(Held())
    bench.ended()
    late = Held(trouble=True)
    bench.queues["recorded-a"].give(late)
    assert late.released.wait(20)
    until(lambda: "zerog-listener-recorded-a" not in listening())


def test_the_threads_go_on_with_the_next_wait(bench: Bench) -> None:
    """A thread that still waits for its queue serves the next wait, too."""
    bench.wait()
    bench.queues["recorded-b"].give(Held())
    bench.ended()
    bench.wait()
    second = Held()
    bench.queues["recorded-a"].give(second)
    bench.ended()
    assert bench.brought[1:] == [second]


def test_a_thread_that_waits_for_a_queue_looks_at_it(bench: Bench) -> None:
    """The next wait doesn't ask again: each question is a call of a server. One that doesn't wait has to."""
    names, queues = tuple(bench.queues), bench.queues.values()
    until(lambda: bench.listeners.wait(0.1, names) == [] and all(queue.asked.is_set() for queue in queues))
    looks = [queue.looks for queue in queues]
    assert bench.listeners.wait(0.1, names) == []
    assert [queue.looks for queue in queues] == looks
    assert bench.listeners.wait(0, names) == []
    assert [queue.looks for queue in queues] == [count + 1 for count in looks]


def test_trouble_is_reported(bench: Bench) -> None:
    """A queue that can't be asked ends the wait with its reason; so the worker logs it and tries again later."""
    bench.wait()
    bench.queues["recorded-a"].give(QueueUnavailable("away"))
    bench.ended()
    assert [str(error) for error in bench.trouble] == ["away"] and bench.brought == []


def test_a_wait_that_is_over_leaves_no_threads(bench: Bench) -> None:
    """``close`` ends what still waits."""
    bench.wait()
    bench.listeners.wake()
    bench.ended()
    bench.listeners.close()
    assert not listening()


def test_close_wakes_a_thread_that_missed_the_first_wake(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is about to wait is notified of the end the next time."""
    bench.wait()
    bench.queues["recorded-b"].give(Held())
    bench.ended()
    wake = bench.queues["recorded-a"].wake
    calls: list[int] = []

    def lost_at_first() -> None:
        calls.append(1)
        if len(calls) > 1:
            wake()

    monkeypatch.setattr(bench.queues["recorded-a"], "wake", lost_at_first)
    bench.listeners.close()
    assert not listening() and len(calls) > 1


def both(queue: MemoryQueue) -> Callable[[str], Queue]:
    return {"recorded-a": queue, "recorded-b": queue.queue_named("recorded-b")}.__getitem__


def test_what_is_there_already_needs_no_thread() -> None:
    """The queues are polled first, in their order."""
    queue = MemoryQueue("recorded-a")
    listeners = MultiQueueWaiter(both(queue))
    queue.queue_named("recorded-b").put(new_uuid())
    uuid = new_uuid()
    queue.put(uuid)
    assert [one.uuid for one in listeners.wait(0, ("recorded-a", "recorded-b"))] == [uuid]
    assert len(listeners.wait(0, ("recorded-a", "recorded-b"))) == 1
    assert not listening()


def test_surplus_claims_are_released() -> None:
    """Two queues may have something at the same moment, and a worker with one slot takes one."""
    engine = Engine(MemoryDatastore(), MemoryQueue())
    documents = [{**new_document("test", 1.0, to_text(engine.clock.now())), "queueName": name} for name in ("a", "b")]
    engine.submit(documents)
    assert engine.wait_ready(0, ("a",)) and engine.wait_ready(0, ("b",))
    [claim] = engine.claim(1, ALICE, lambda head: head["jobType"], ("a", "b"))
    [other] = {document["uuid"] for document in documents} - {claim.uuid}
    assert [one.uuid for one in engine.claim(1, WorkerIdentity("bob", 30.0), lambda head: 1, ("a", "b"))] == [other]


def test_garbage_on_one_queue_blocks_no_other(tmp_path: Path) -> None:
    """What is no uuid is set aside within the same poll."""
    datastore = SqliteDatastore(tmp_path / "jobs.db")
    engine = SqliteEngine(datastore, SqliteQueue(datastore.file.path, file=datastore.file))
    with datastore.file.writing() as sqlite:
        sqlite.execute("INSERT INTO zerog_queue (queue, uuid) VALUES ('a', 'rubbish')")
    document = {**new_document("test", 1.0, to_text(engine.clock.now())), "queueName": "b"}
    engine.submit([document])
    assert [one.uuid for one in engine.claim(1, ALICE, lambda head: 1, ("a", "b"))] == [document["uuid"]]
    engine.close()


def test_a_queue_that_does_not_answer_holds_up_no_close(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is left behind after some tries, and ends once the queue answers."""
    monkeypatch.setattr("zerog.engine.multiwait.TRIES", 2)
    monkeypatch.setattr(bench.queues["recorded-a"], "wake", lambda: None)
    bench.wait()
    bench.listeners.wake()
    bench.ended()
    bench.listeners.close()
    assert listening() == ["zerog-listener-recorded-a"]
    bench.queues["recorded-a"].give(None)
    until(lambda: not listening())
