"""A proxy before a beanstalkd that cuts every connection once so many bytes have passed, and takes new ones."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Listens on ``port`` and passes bytes to and from another port of this machine."""

    def __init__(self, server_port: int, cut_after: int) -> None:
        self._server_port = server_port
        self._left = cut_after
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.has_cut = False
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that are open."""
        self._listener.close()
        self.end_all()

    def cut_no_more(self) -> bool:
        """Return whether it has cut, once every connection of that time has ended; let all further bytes pass."""
        with self._lock:
            has_cut, self.has_cut = self.has_cut, True
        assert not has_cut or self._ended.wait(60)
        return has_cut

    def end_all(self) -> None:
        """End every connection."""
        with self._lock:
            ended, self._open = self._open, []
        _end(ended)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                with self._lock:
                    self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                passed = self._allowed(data)
                target.sendall(passed)
                if passed != data:
                    self.end_all()
                    self._ended.set()
        _end([source, target])

    def _allowed(self, data: bytes) -> bytes:
        """Return what may pass of some bytes: less than all of them once, which is the cut."""
        with self._lock:
            if self.has_cut or len(data) <= self._left:
                self._left -= 0 if self.has_cut else len(data)
                return data
            self.has_cut = True
            return data[: self._left]


def _end(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
