"""Wait for entries of queues: LISTEN on a connection of its own, with a poll behind; behind a pooler by polls alone."""

from __future__ import annotations

import logging
import os
import select
import threading
import weakref
from collections.abc import Collection
from contextlib import suppress

import psycopg

from zerog.backends.postgres.connection import Connection
from zerog.backends.postgres.server import PostgresServer
from zerog.exceptions import DatastoreError
from zerog.support.clock import SYSTEM

log = logging.getLogger("zerog")

POLL = 1.0
"""Seconds between two polls while no notification arrives."""

POOLED_POLL = 0.5
"""The same behind a connection pooler, which passes no notifications on."""


class Listener:
    """The connection that wakes this process, opened at the first wait and never used by a forked child."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._mine = _OfProcess()

    @property
    def poll(self) -> float:
        """Seconds that a wait may take, so that nothing is missed."""
        return POOLED_POLL if self._server.is_pooled else POLL

    def wait(self, timeout: float, queues: Collection[str]) -> bool | None:
        """Wait ``timeout`` seconds at most. True if something was put on one of the queues, None if it may have been.

        False if ``wake`` was called.
        """
        mine = self._of_this_process()
        if not mine.turn.acquire(timeout=timeout):
            return None
        try:
            if mine.connection is None and self._open(mine):
                return None  # nothing was notified until now: poll once more
            return mine.wait(timeout, frozenset(queues))
        finally:
            mine.turn.release()

    def wake(self) -> None:
        """Make the ``wait`` of another thread return, or the next one if none is waiting."""
        with suppress(BlockingIOError):  # it is full: woken already
            os.write(self._of_this_process().writer, b"!")

    def close(self) -> None:
        """Close the connection. A later ``wait`` opens another one."""
        mine = self._of_this_process()
        with mine.lock:
            mine.drop()

    def _open(self, mine: _OfProcess) -> bool:
        """Open the connection if the server allows it, and return True; else there is the poll."""
        try:
            connection = self._server.listening()
        except DatastoreError as error:
            if not mine.has_logged:
                mine.has_logged = True
                log.warning("waiting workers poll every %s s, for they can't listen: %s", self.poll, error)
            return False
        if connection is None:
            if not mine.has_logged:
                mine.has_logged = True
                log.info(
                    "%s is behind a connection pooler, which passes no notifications on: waiting workers poll every "
                    "%s s",
                    *(self._server.name, POOLED_POLL),
                )
            return False
        try:
            connection.execute(f"LISTEN zerog_{self._server.schema}".encode())
        except psycopg.Error:
            connection.close()
            return False
        mine.has_logged = False
        with mine.lock:
            mine.connection = connection
        return True

    def _of_this_process(self) -> _OfProcess:
        mine = self._mine
        if mine.pid != os.getpid():
            _abandoned.append(mine)  # its connection is the parent's: it must not even be freed here
            mine = self._mine = _OfProcess()
        return mine


_abandoned: list[_OfProcess] = []


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _OfProcess:
    """The connection of one process, and the pipe that ends a wait."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.turn = threading.Lock()
        self.lock = threading.Lock()
        self.connection: Connection | None = None
        self.has_logged = False
        self._reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._reader, self.writer).atexit = False

    def wait(self, timeout: float, queues: frozenset[str]) -> bool | None:
        """Wait for a notification about one of the queues: True; None if none came, False if ``wake`` was called."""
        end = SYSTEM.monotonic() + timeout
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if self.connection is not None:
            poll.register(self.connection.pgconn.socket, select.POLLIN)
        while True:
            left = end - SYSTEM.monotonic()
            ready = dict(poll.poll(max(1, round(left * 1_000))))
            if self._reader in ready:
                with suppress(BlockingIOError):
                    os.read(self._reader, 1_024)
                return False
            if left <= 0 or self.connection is None:
                return None
            if not queues.isdisjoint(self._notified(self.connection)):
                return True

    def _notified(self, connection: Connection) -> list[str]:
        """Return the queues of the notifications that have arrived. Drops a connection that has ended."""
        names = []
        try:
            connection.pgconn.consume_input()
            while (notify := connection.pgconn.notifies()) is not None:
                names.append(notify.extra.decode())
        except psycopg.Error:
            with self.lock:
                self.drop()
        return names

    def drop(self) -> None:
        """Close the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
