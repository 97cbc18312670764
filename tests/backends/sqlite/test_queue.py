"""A queue in an SQLite file: wakeups between processes, and consumers that die."""

from __future__ import annotations

import socket
import sqlite3
import sys
from contextlib import closing
from time import monotonic, thread_time

import pytest

from tests.contracts.test_queue import put_raw
from tests.processes import program, stretched, until
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.backends.sqlite.wakeups import SEPARATOR
from zerog.exceptions import QueueUnavailable
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock

CONSUMER = """
    import sys
    from time import monotonic
    from zerog.backends.sqlite.queue import SqliteQueue

    queue = SqliteQueue(sys.argv[1], synchronous="normal")
    while True:
        sys.stdin.readline()
        started = monotonic()
        reservation = queue.reserve(30)
        print(reservation.uuid if reservation else None, monotonic(), flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def queue(path):
    queue = SqliteQueue(path, synchronous="normal")
    yield queue
    queue.close()


def waiters(queue: SqliteQueue) -> list[str]:
    with queue.file.reading() as sqlite:
        return queue.waiters(sqlite)


def test_put_wakes_another_process(path, queue) -> None:
    """A put ends a ``reserve`` that waits in another process far sooner than the poll would."""
    with program(CONSUMER, path) as consumer:
        delays = []
        for _ in range(7):
            consumer.stdin.write("\n")
            consumer.stdin.flush()
            until(lambda: waiters(queue))
            uuid = new_uuid()
            put = monotonic()
            queue.put(uuid)
            delivered, moment = consumer.stdout.readline().split()
            assert delivered == uuid
            delays.append(float(moment) - put)
        assert max(delays) < stretched(0.5)
        assert sorted(delays)[3] < stretched(0.1)


def test_put_before_the_address_is_known(path, queue, monkeypatch) -> None:
    """An entry put after the first poll, but before the address is in the file, doesn't wait for the next one."""
    other = SqliteQueue(path, synchronous="normal")
    register = queue._waiter._open

    def put_first():
        if queue.size() == 0:
            other.put(new_uuid())
        return register()

    monkeypatch.setattr(queue._waiter, "_open", put_first)
    started = monotonic()
    assert queue.reserve(30) is not None
    assert monotonic() - started < stretched(0.5)
    other.close()


def test_release_wakes_other_consumers(path, queue) -> None:
    """A released entry is offered to waiting consumers as one just put."""
    queue.put(new_uuid())
    reservation = queue.reserve()
    with program(CONSUMER, path) as consumer:
        consumer.stdin.write("\n")
        consumer.stdin.flush()
        until(lambda: waiters(queue))
        released = monotonic()
        reservation.release()
        assert float(consumer.stdout.readline().split()[1]) - released < 0.5


def test_killed_consumer_is_forgotten(path, queue) -> None:
    """The address of a consumer that was killed disappears with the next put."""
    with program(CONSUMER, path) as consumer:
        consumer.stdin.write("\n")
        consumer.stdin.flush()
        until(lambda: waiters(queue))
        consumer.kill()
        consumer.wait(30)
    assert len(waiters(queue)) == 1
    queue.put(new_uuid())
    assert waiters(queue) == []


def test_entry_of_a_killed_consumer_is_delivered_again(path) -> None:
    """What a killed consumer had reserved is back after its time to run, no sooner."""
    clock = ManualClock(start=SqliteQueue(path)._clock.now())
    queue = SqliteQueue(path, clock=clock)
    uuid = new_uuid()
    queue.put(uuid, ttr=100)
    with program(CONSUMER, path) as consumer:
        consumer.stdin.write("\n")
        consumer.stdin.flush()
        assert consumer.stdout.readline().split()[0] == uuid
        consumer.kill()
        consumer.wait(30)
    clock.advance(90)
    assert queue.reserve() is None
    clock.advance(40)
    reservation = queue.reserve()
    assert reservation is not None and reservation.uuid == uuid
    queue.close()


def test_closing_takes_the_address_away(queue) -> None:
    """A consumer that closes its queue leaves no address, and one that continues afterwards gets a new one."""
    for _ in range(2):
        queue.wait(0)
        assert len(waiters(queue)) == 1
        queue.close()
        assert waiters(queue) == []


def test_wakes_are_no_condition_for_delivery(path, queue) -> None:
    """Where no datagram arrives, the poll finds the entry."""
    with program(CONSUMER, path) as consumer:
        consumer.stdin.write("\n")
        consumer.stdin.flush()
        until(lambda: waiters(queue))
        with queue.file.writing() as sqlite:
            queue.insert(sqlite, new_uuid(), 0, 0)
        assert consumer.stdout.readline().split()[0] != "None"


@pytest.mark.parametrize("expression", ["CAST(x'ff' AS TEXT)", "x'ff'", "5", "1.5", "NULL"])
def test_bodies_of_any_type_are_set_aside(queue, expression: str) -> None:
    """Whatever the body column holds is set aside and kept; what is behind it is delivered."""
    put_raw(queue, None, f"coalesce({expression}, ?)")
    uuid = new_uuid()
    queue.put(uuid)
    reservation = queue.reserve()
    assert reservation is not None and reservation.uuid == uuid
    assert queue.rejected == 1
    with queue.file.reading() as sqlite:
        assert sqlite.execute("SELECT count(*) FROM zerog_rejected").fetchone()[0] == 1


def test_faults_of_the_file_have_a_name(queue, path) -> None:
    """Every verb on a broken file raises QueueUnavailable."""
    queue.put(new_uuid())
    reservation = queue.reserve()
    with closing(sqlite3.connect(path)) as sqlite:
        sqlite.execute("ALTER TABLE zerog_queue RENAME TO gone")
    verbs = [lambda: queue.put(new_uuid()), queue.reserve, queue.size, lambda: queue.wait(0.001)]
    for verb in (*verbs, reservation.delete, reservation.release):
        with pytest.raises(QueueUnavailable):
            verb()


def delayed(path) -> int:
    with closing(sqlite3.connect(path, isolation_level=None)) as sqlite:
        return int(sqlite.execute("SELECT count(*) FROM zerog_queue WHERE due > 0").fetchone()[0])


def test_many_due_entries_become_ready_in_steps(path, monkeypatch) -> None:
    """First due first, a few in each transaction, so that no writer waits for all of them; all are delivered."""
    monkeypatch.setattr("zerog.backends.sqlite.queue.PROMOTED", 10)
    clock = ManualClock()
    queue = SqliteQueue(path, synchronous="normal", clock=clock)
    uuids = [new_uuid() for _ in range(45)]
    for n, uuid in enumerate(uuids):
        queue.put(uuid, delay=100 - n)
    clock.advance(200)
    delivered = []
    for left in (35, 25, 15, 5, 0):
        reservation = queue.reserve()
        assert reservation is not None
        delivered.append(reservation.uuid)
        reservation.delete()
        assert delayed(path) == left
    assert set(delivered[:1]) <= set(uuids[-10:])
    while (reservation := queue.reserve()) is not None:
        delivered.append(reservation.uuid)
        reservation.delete()
    assert sorted(delivered) == sorted(uuids)
    queue.close()


def test_due_entries_of_another_queue_hide_nothing(path, monkeypatch) -> None:
    monkeypatch.setattr("zerog.backends.sqlite.queue.PROMOTED", 10)
    clock = ManualClock()
    queue = SqliteQueue(path, synchronous="normal", clock=clock)
    for _ in range(45):
        queue.queue_named("other").put(new_uuid(), delay=1)
    uuid = new_uuid()
    queue.put(uuid, delay=2)
    clock.advance(3)
    reservation = queue.reserve()
    assert reservation is not None and reservation.uuid == uuid
    queue.close()


@pytest.mark.parametrize("due", ["'soon'", "x'00'", "9e999"])
def test_a_wrong_time_ends_no_wait(path, queue, due: str) -> None:
    """A waiting consumer looks for the next time at which something is due."""
    with queue.file.writing() as sqlite:
        sqlite.execute(f"INSERT INTO zerog_queue (queue, uuid, due) VALUES ('default', ?, {due})", (new_uuid(),))
    assert queue.reserve(0.01) is None


FLOOD = """
    import socket, sys

    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    while True:
        [name] = [line.split()[-1] for line in open("/proc/net/unix") if line.split()[-1] == sys.argv[1]]
        for _ in range(10_000):
            try:
                sender.sendto(b"!", "\\0" + name[1:])
            except BlockingIOError:
                pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="abstract socket names exist on Linux only")
def test_datagrams_of_others_keep_no_consumer_busy(queue) -> None:
    """All users see the socket's name, and may send to it: that costs no polls, and a real wake-up still counts."""
    queue.wait(0)
    [address] = waiters(queue)
    name = "@" + address.partition(SEPARATOR)[0]
    with program(FLOOD, name):
        started, polls = thread_time(), 0
        deadline = monotonic() + 2
        while monotonic() < deadline:
            queue.wait(30)
            polls += 1
        assert polls <= 4  # one a second, as without any datagram
        assert thread_time() - started < 0.5
    queue._waiter.wait(0)  # takes what the system still kept
    started = monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"!", f"\0{name[1:]}")
    queue.notify([address])
    assert queue._waiter.wait(60)
    assert monotonic() - started < 30
