"""A proxy before a MongoDB server that loses the request or the answer of one command."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import bson

Loss = Literal["closed", "silent", "unsent"]
"""The answer is lost and the connection ends; no answer is sent; the request is lost and the connection ends."""

WRITES = ("insert", "update", "findAndModify", "delete")

_OP_MSG = 2013


@dataclass
class _Fault:
    commands: tuple[str, ...]
    after: int
    loss: Loss


class Proxy:
    """Listens on ``port`` and speaks to the server at another port of this machine."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._fault: _Fault | None = None
        self._sockets: list[socket.socket] = []
        self.seen: Counter[str] = Counter()
        """Commands that arrived, by name."""
        threading.Thread(target=self._listen, daemon=True).start()

    def lose(self, loss: Loss, *commands: str, after: int = 0) -> None:
        """Do this to the next of these commands (any write if none is named), once ``after`` of them have passed."""
        with self._lock:
            self._fault = _Fault(commands or WRITES, after, loss)

    @property
    def has_lost(self) -> bool:
        """True once the loss has happened."""
        return self._fault is None

    def close(self) -> None:
        """End every connection."""
        for each in [self._listener, *self._sockets]:
            _end(each)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                lost = threading.Event()
                silent = threading.Event()
                for target in (self._ask, self._answer):
                    threading.Thread(target=target, args=(client, server, lost, silent), daemon=True).start()

    def _ask(
        self, client: socket.socket, server: socket.socket, lost: threading.Event, silent: threading.Event
    ) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = _message(client)
                loss = self._loss_of(message)
                if loss == "unsent":
                    break
                if loss is not None:
                    (lost if loss == "closed" else silent).set()
                server.sendall(message)
        if not lost.is_set():
            _end(client)
            _end(server)

    def _answer(
        self, client: socket.socket, server: socket.socket, lost: threading.Event, silent: threading.Event
    ) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = _message(server)
                if lost.is_set():
                    break
                if not silent.is_set():
                    client.sendall(message)
        _end(client)
        _end(server)

    def _loss_of(self, message: bytes) -> Loss | None:
        command = _command(message)
        with self._lock:
            self.seen[command] += 1
            fault = self._fault
            if fault is None or command not in fault.commands:
                return None
            fault.after -= 1
            if fault.after >= 0:
                return None
            self._fault = None
            return fault.loss


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, 4)
    return head + _exactly(source, struct.unpack("<i", head)[0] - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = source.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _command(message: bytes) -> str:
    """The name of the command in a message: the first key of its body."""
    if struct.unpack_from("<i", message, 12)[0] != _OP_MSG or message[20] != 0:
        return ""
    size = struct.unpack_from("<i", message, 21)[0]
    return str(next(iter(bson.decode(message[21 : 21 + size]))))


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
