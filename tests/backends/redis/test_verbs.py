"""No verb of a part on Redis lets an exception of the client out, whatever the server does to the call."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import redis

from tests.backends.redis.servers import shared
from zerog.backends.redis.queue import RedisQueue, RedisReservation
from zerog.backends.redis.server import RedisServer
from zerog.backends.rq.queue import RqQueue, _RqReservation
from zerog.exceptions import ZerogError
from zerog.records.job import new_uuid

ANSWERS = {
    "closes at once": None,
    "closes after the call": b"",
    "closes within its answer": b"*3\r\n$10\r\nabc",
    "answers nonsense": b"Good morning\r\n",
    **{
        f"refuses by {code}": f"-{code}\r\n".encode()
        for code in (
            "ERR because it does",
            "NOPERM because it does",
            "NOAUTH because it does",
            "WRONGPASS because it does",
            "WRONGTYPE because it does",
            "NOSCRIPT because it does",
            "EXECABORT because it does",
            "LOADING because it does",
            "OOM because it does",
            "READONLY because it does",
            "MISCONF because it does",
            "MOVED 1 127.0.0.1:1",
            "ASK 1 127.0.0.1:1",
            "CLUSTERDOWN because it does",
            "BUSY because it does",
            "UNBLOCKED because it does",
            "NEWCODE because it does",
        )
    },
}


class BadServer:
    """Takes connections and answers each call with the same bytes; with b"" it closes, with None it does so at once."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0?timeout=0.2"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while self._answer is not None and (calls := client.recv(1 << 16)):
                client.sendall(self._answer * (1 + calls.count(b"\r\n*")))
                if not self._answer or self._answer == ANSWERS["closes within its answer"]:
                    return


@pytest.fixture(params=ANSWERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = BadServer(ANSWERS[request.param])
    yield server.url
    server.close()


def verbs_of_a_queue(queue: RedisQueue | RqQueue) -> list[Callable[[], object]]:
    return [
        lambda: queue.put(new_uuid()),
        lambda: queue.put(new_uuid(), delay=5, priority=3, ttr=9),
        lambda: queue.put(new_uuid(), front=True),
        queue.reserve,
        lambda: queue.reserve(0.05),
        queue.reserve_lowest,
        queue.size,
        queue.setup,
        queue.wake,
        queue.queue_named("other").size,
    ]


def check(verbs: list[Callable[[], object]]) -> None:
    """Each of them returns, or raises an error of ZeroG's."""
    for verb in verbs:
        for _ in range(2):
            with suppress(ZerogError):
                verb()


def test_a_queue(url: str) -> None:
    queue = RedisQueue(url)
    reservation = RedisReservation(queue, f"n1:0:60:{new_uuid()}", "token")
    waking: list[Callable[[], object]] = [lambda: queue.wait(0.05, ["a"]), lambda: queue.is_ready(["a", "b"])]
    settling = [reservation.delete, reservation.release]
    check([*verbs_of_a_queue(queue), *waking, *settling, queue.close])


def test_a_queue_of_rq(url: str) -> None:
    queue = RqQueue(url)
    reservation = _RqReservation(queue, f"{new_uuid()}_1", "token")
    settling = [reservation.delete, reservation.release]
    check([*verbs_of_a_queue(queue), queue.tidy, lambda: queue.set_aside("x"), *settling, queue.close])


def test_the_server(url: str) -> None:
    server = RedisServer(url)

    def by_its_client() -> None:
        with server.translated("a test"):
            server.client().get("key")

    check(
        [
            lambda: server.call([{"command": "read", "key": "key"}], "a test"),
            lambda: server.call([{"command": "read", "key": "key"}], "a test", writes=False),
            lambda: server.one({"command": "size", "queue": "a"}, "a test"),
            lambda: server.ask("a test", "TIME"),
            lambda: server.wait(["a"], 0.05),
            lambda: server.wake("a"),
            lambda: server.run(b"return 1", ["key"], ["1"], "a test"),
            by_its_client,
            server.close,
        ]
    )


def test_an_answer_that_was_not_read_is_never_taken_for_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception out of a signal handler may be raised between a call and its answer."""
    server = RedisServer(shared("valkey").url())
    server.ask("a test", "SET", f"{server.prefix}a", "1")
    read = redis.connection.Connection.read_response

    def interrupted(*_args: object, **_options: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(redis.connection.Connection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.ask("a test", "GET", f"{server.prefix}a")
    monkeypatch.setattr(redis.connection.Connection, "read_response", read)
    for number in range(3):
        assert server.ask("a test", "ECHO", str(number)) == str(number).encode()
    server.close()
