"""What is particular to beanstalkd: its connections own entries, its numbers are whole, its answers have codes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import greenstalk
import pytest

from tests.backends.beanstalkd.servers import RunningServer, started
from tests.forks import in_a_fork
from zerog.backends.beanstalkd import queue as queue_module
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.contracts.queue import Entry, Reservation
from zerog.exceptions import QueueUnavailable, ReservationLost, ZerogError
from zerog.records.job import new_uuid


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    server = started()
    yield server
    server.kill()


@pytest.fixture
def queue(server: RunningServer) -> Iterator[BeanstalkdQueue]:
    queue = BeanstalkdQueue(server.url())
    yield queue
    queue.close()


def client_of(queue: BeanstalkdQueue) -> greenstalk.Client[bytes]:
    """A foreign program's client, on the tube of a queue."""
    port = int(queue.server.name.rpartition(":")[2])
    return greenstalk.Client(("127.0.0.1", port), None, queue.tube, queue.tube)


def reserved(queue: BeanstalkdQueue, timeout: float = 0) -> Reservation:
    reservation = queue.reserve(timeout)
    assert reservation is not None
    return reservation


def test_a_killed_consumer_s_entry_returns_at_once(queue: BeanstalkdQueue) -> None:
    """Long before its time to run is over: its connection is closed."""
    uuid = new_uuid()
    queue.put(uuid, ttr=3600)

    def die() -> None:
        assert queue.reserve() is not None
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_fork(die) == -signal.SIGKILL
    assert reserved(queue, 20).uuid == uuid


def test_a_fork_has_its_own_connections(queue: BeanstalkdQueue) -> None:
    """A copy of the process works on its own, can't settle what its parent has reserved, and does it no harm."""
    first, second = new_uuid(), new_uuid()
    queue.put(first)
    queue.put(second)
    mine = reserved(queue)

    def live() -> None:
        with pytest.raises(ReservationLost):
            mine.delete()
        other = reserved(queue)
        assert other.uuid == second
        other.delete()
        queue.close()

    assert in_a_fork(live) == 0
    assert queue.size() == 1
    mine.delete()
    assert queue.size() == 0


def test_a_forgotten_reservation_ends_with_its_time(queue: BeanstalkdQueue) -> None:
    """Its connection is used again, also while the server answers that the deadline is soon."""
    uuid = new_uuid()
    queue.put(uuid, ttr=1)
    reserved(queue)
    assert queue.reserve() is None and queue.size() == 1
    assert reserved(queue, 20).uuid == uuid


def test_reservations_end_with_the_queue(queue: BeanstalkdQueue) -> None:
    """Closed connections return what they had reserved."""
    uuid = new_uuid()
    queue.put(uuid)
    reservation = reserved(queue)
    queue.close()
    with pytest.raises(ReservationLost, match="closed"):
        reservation.delete()
    assert reserved(queue, 20).uuid == uuid


def test_idle_connections_are_used_again(queue: BeanstalkdQueue) -> None:
    """One connection is enough for one thread without a reservation."""
    for _ in range(5):
        queue.put(new_uuid())
    while (reservation := queue.reserve()) is not None:
        reservation.delete()
    with queue.server.connection(queue.tube, "a test") as connection:
        assert connection.client.stats_tube(queue.tube)["current-using"] == 1


def test_numbers_are_whole_and_bounded(queue: BeanstalkdQueue) -> None:
    """Rounded up, so that nothing is early; what is too large for the server is its largest."""
    client = client_of(queue)
    for delay, ttr, stored in ((0.2, 0.2, (1, 1)), (1.5, 2.000001, (2, 3)), (1e300, 1e300, (2**32 - 1, 2**32 - 1))):
        stats = client.stats_job(queue.put(new_uuid(), delay=delay, ttr=ttr))
        assert (stats["delay"], stats["ttr"]) == stored
    assert queue.size() == 3
    reservation_id = queue.put(new_uuid())
    reserved(queue).release(1e300)
    assert client.stats_job(reservation_id)["delay"] == 2**32 - 1
    client.close()


def test_priorities_beyond_the_range_are_its_ends(queue: BeanstalkdQueue) -> None:
    uuids = {priority: new_uuid() for priority in (-(2**31), -40_000, -32_767, -5, 0, 32_767, 40_000, 2**31 - 1)}
    for priority, uuid in uuids.items():
        queue.put(uuid, priority=priority)
    delivered = []
    while (reservation := queue.reserve()) is not None:
        delivered.append(reservation.uuid)
        reservation.delete()
    order = (32_767, 40_000, 2**31 - 1, 0, -5, -(2**31), -40_000, -32_767)
    assert delivered == [uuids[priority] for priority in order]


def test_a_lost_place_in_front_is_only_a_place(queue: BeanstalkdQueue) -> None:
    """Behind an entry of a higher priority those put in front keep the order of their puts."""
    back, first, second, urgent = (new_uuid() for _ in range(4))
    queue.put(back)
    queue.put(urgent, priority=1)
    queue.put(first, front=True)
    queue.put(second, front=True)
    assert [reserved(queue).uuid for _ in range(4)] == [urgent, first, second, back]


def test_an_entry_that_an_operator_buries_is_not_held(queue: BeanstalkdQueue) -> None:
    """It is delivered to nothing, so its job is put again."""
    uuid = new_uuid()
    identity = queue.put(uuid)
    client = client_of(queue)
    client.bury(client.reserve(0))
    assert queue.holds(Entry(identity, uuid)) is False
    client.kick(1)
    assert queue.holds(Entry(identity, uuid)) is True
    client.close()


def test_so_many_rejected_entries_are_kept(queue: BeanstalkdQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest ones, as buried jobs; doctor reports them."""
    monkeypatch.setattr(queue_module, "REJECTED", 2)
    client = client_of(queue)
    for body in (b"1", b"2", b"3"):
        client.put(body)
    assert queue.reserve() is None
    assert queue.rejected == 3 and queue.tube in queue.rejects
    assert client.peek_buried().body == b"2"
    [trouble] = queue.troubles()
    assert "2 entries" in trouble.what and queue.tube in trouble.what
    assert client.kick(9) == 2
    assert queue.troubles() == []
    client.close()


def test_a_paused_tube_is_reported(queue: BeanstalkdQueue) -> None:
    client = client_of(queue)
    client.pause_tube(queue.tube, 3600)
    queue.put(new_uuid())
    assert queue.reserve() is None
    [trouble] = queue.troubles()
    assert "is paused for" in trouble.what
    client.pause_tube(queue.tube, 0)
    assert queue.reserve() is not None
    client.close()


def test_a_server_in_drain_mode(queue: BeanstalkdQueue) -> None:
    """It takes nothing, and gives what it has."""
    own = started()
    draining = BeanstalkdQueue(own.url())
    uuid = new_uuid()
    draining.put(uuid)
    own.signal(signal.SIGUSR1)
    with pytest.raises(QueueUnavailable, match="drain mode"):
        draining.put(new_uuid())
    assert "drain mode" in draining.troubles()[0].what
    assert reserved(draining).uuid == uuid
    draining.close()
    own.kill()


def test_a_server_for_smaller_bodies() -> None:
    own = started("-z", "35")
    small = BeanstalkdQueue(own.url())
    with pytest.raises(QueueUnavailable, match="takes no body of 36 bytes; its option -z"):
        small.put(new_uuid())
    small.close()
    own.kill()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nosuchhost.invalid:11300"])
def test_a_server_that_is_not_there(host: str) -> None:
    """An outage, which may end; the error names the server."""
    queue = BeanstalkdQueue(f"beanstalkd://{host}?timeout=1")
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, queue.troubles, lambda: queue.holds_all([])):
        with pytest.raises(QueueUnavailable, match=f"beanstalkd://{host} can't be reached"):
            call()


ANSWERS = {
    "closes at once": None,
    "closes after the call": b"",
    "closes within its answer": b"RESERVED 1 36\r\nabc",
    "another server": b"-ERR unknown command 'use', with args beginning with: 'zerog/default' \r\n",
    "a web server": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "nonsense": b"\xff\x00\n",
    "an empty line": b"\r\n",
    "no numbers": b"RESERVED one 36\r\n",
    "a size beyond all": b"OK 99999999999999999999999\r\n",
    "statistics without a colon": b"OK 6\r\n---\na\n\r\n",
    "statistics without a field": b"OK 9\r\n---\na: 1\n\r\n",
    "statistics without a number": b"OK 50\r\n---\ncurrent-jobs-ready: 1\ncurrent-jobs-delayed: x\n\r\n",
    **{code: f"{code}\r\n".encode() for code in ("OUT_OF_MEMORY", "INTERNAL_ERROR", "BAD_FORMAT", "UNKNOWN_COMMAND")},
    **{code: f"{code}\r\n".encode() for code in ("BURIED", "NOT_FOUND", "NOT_IGNORED", "EXPECTED_CRLF", "NEW_CODE")},
}
OPENING = b"USING x\r\nWATCHING 2\r\nWATCHING 1\r\n"


class BadServer:
    """Takes connections, opened as usual if ``opens``, and answers each other call with the same bytes."""

    def __init__(self, answer: bytes | None, opens: bool) -> None:
        self._answer, self._opens = answer, opens
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"beanstalkd://127.0.0.1:{self._listener.getsockname()[1]}?timeout=0.1"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        opening = OPENING.splitlines(keepends=True) if self._opens else []
        with client, suppress(OSError):
            while self._answer is not None and client.recv(1 << 16):
                client.sendall(opening.pop(0) if opening else self._answer)
                if not opening and self._answer in (b"", ANSWERS["closes within its answer"]):
                    return


@pytest.mark.parametrize("opens", [False, True], ids=["from the start", "once it is open"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_beanstalkd(answer: str, opens: bool) -> None:
    """No verb lets an exception of the client out, whatever is answered."""
    bad = BadServer(ANSWERS[answer], opens)
    queue = BeanstalkdQueue(bad.url)
    verbs = (
        lambda: queue.put(new_uuid()),
        lambda: queue.put(new_uuid(), front=True),
        queue.reserve,
        queue.reserve_lowest,
        queue.size,
        queue.troubles,
        lambda: queue.holds_all([Entry(1, new_uuid())]),
        queue.close,
    )
    for verb in verbs:
        with suppress(ZerogError):
            verb()
    bad.close()
