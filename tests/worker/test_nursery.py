"""The process that forks children, on its own."""

from __future__ import annotations

import socket

from tests.forks import in_a_fork
from zerog.worker import nursery


def test_it_leaves_quietly_when_its_last_words_were_not_read() -> None:
    """A worker that ends at that very moment resets the connection; that is an end like any other, and no failure."""
    worker, its_own = socket.socketpair()
    its_own.sendall(b'{"pid": 5, "status": 0}\n')
    worker.close()
    assert in_a_fork(lambda: nursery._serve(its_own, lambda connection: None, set())) == 0
    its_own.close()
