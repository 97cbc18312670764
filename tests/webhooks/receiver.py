"""A receiver of web hooks on loopback, which answers what a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from email.parser import BytesParser
from typing import NamedTuple

OK = b"HTTP/1.1 204 No Content\r\n\r\n"

Answer = Callable[[socket.socket], None]


class Received(NamedTuple):
    """A request that came."""

    line: str
    headers: dict[str, str]
    body: bytes


def sending(answer: bytes) -> Answer:
    """Answer with these bytes."""
    return lambda connection: connection.sendall(answer)


class Receiver:
    """Use as ``with``. ``answers`` are given in turn, the last one again and again."""

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers) or [sending(OK)]
        self._context = context
        self.requests: list[Received] = []
        self.came = threading.Condition()

    def __enter__(self) -> Receiver:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(60)

    def wait(self, number: int) -> list[Received]:
        """Wait for as many requests."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.requests) >= number, 60), self.requests
            return list(self.requests)

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:  # the sender has left, as it should
                    pass

    def _answer(self, connection: socket.socket) -> None:
        if self._context is None:
            self._answer_plain(connection)
        else:
            with self._context.wrap_socket(connection, server_side=True) as encrypted:
                self._answer_plain(encrypted)

    def _answer_plain(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        line = stream.readline().decode().strip()
        lines = b""
        while (part := stream.readline()) not in (b"\r\n", b""):
            lines += part
        headers = {name.lower(): value for name, value in BytesParser().parsebytes(lines).items()}
        body = stream.read(int(headers.get("content-length", 0)))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        with self.came:
            self.requests.append(Received(line, headers, body))
            self.came.notify_all()
        answer(connection)
