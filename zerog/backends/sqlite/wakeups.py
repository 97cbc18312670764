"""Wake the consumers of an SQLite file by datagrams.

The names of abstract sockets are visible to all users of a machine (``/proc/net/unix``), and each may send to them. So
a datagram counts only if it holds the token that is stored with the address in the file.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import suppress

from zerog.backends.sqlite.file import SqliteFile
from zerog.exceptions import DatastoreError
from zerog.support.clock import SYSTEM

SEPARATOR = ":"
"""Between the name of a socket and the token, in an address."""

LONGEST = 64
"""Bytes read of one datagram; a token has 32."""

KEPT = 1_000
"""Datagrams read in one wait at most. The system keeps fewer (net.unix.max_dgram_qlen)."""


class Waiter:
    """The datagram socket that wakes this process, opened at the first wait and never used by a forked child.

    Without abstract socket names (anything but Linux) there is only the poll.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._pid = 0
        self._socket: socket.socket | None = None
        self._interrupted = threading.Event()
        self.address = ""

    def wait(self, timeout: float) -> bool:
        """Wait for a datagram or the end of ``timeout``; False if ``interrupt`` was called."""
        if self._interrupted.is_set():
            self._interrupted.clear()
            return False
        known = self._pid == os.getpid()
        receiver = self._open()
        if receiver is None:
            woken = self._interrupted.wait(timeout)
        elif not known:
            return True  # producers until now did not know the address: poll once more
        else:
            woken = self._receive(receiver, timeout)
        self._interrupted.clear()
        return not woken

    def _receive(self, receiver: socket.socket, timeout: float) -> bool:
        """Wait for a datagram with the token; return True if ``interrupt`` was called.

        After one without it this wait listens no more: a sender of such datagrams takes the wake-ups of at most one
        poll, and costs this process no more than reading the few that the system keeps.
        """
        deadline = SYSTEM.monotonic() + timeout
        token = self.address.partition(SEPARATOR)[2].encode()
        with suppress(OSError):  # timed out, or close() was called
            receiver.settimeout(max(timeout, 0.001))
            received = [receiver.recv(LONGEST)]
            receiver.settimeout(0)
            with suppress(BlockingIOError):
                while len(received) < KEPT:
                    received.append(receiver.recv(LONGEST))
            if token not in received:
                return self._interrupted.wait(deadline - SYSTEM.monotonic())
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """Make a ``wait`` in another thread return, or the next one if none is waiting."""
        self._interrupted.set()
        if self.address and self._pid == os.getpid():
            send(self.address)

    def close(self) -> None:
        with self._lock:
            if self._socket is None or self._pid != os.getpid():
                return
            self._socket.close()
            self._socket, self._pid = None, 0
            with suppress(DatastoreError), self._file.writing() as sqlite:  # otherwise the next notify finds it dead
                sqlite.execute("DELETE FROM zerog_waiters WHERE address = ?", (self.address,))

    def _open(self) -> socket.socket | None:
        with self._lock:
            if self._pid == os.getpid():
                return self._socket
            self._socket = None
            self.address = f"zerog-{os.getpid()}-{os.urandom(6).hex()}{SEPARATOR}{os.urandom(16).hex()}"
            try:
                receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                receiver.bind(_name_of(self.address))
            except OSError:
                self.address, self._pid = "", os.getpid()
                return None
            try:
                with self._file.writing() as sqlite:
                    sqlite.execute("INSERT OR REPLACE INTO zerog_waiters VALUES (?)", (self.address,))
            except BaseException:
                receiver.close()
                raise
            self._socket, self._pid = receiver, os.getpid()
            return receiver


def send(address: str) -> bool:
    """Send one datagram with the token of an address; False if no socket has that address any more."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(address.partition(SEPARATOR)[2].encode(), _name_of(address))
    except OSError as error:
        # Any other error (a full buffer, no descriptors left here) doesn't mean that the receiver is dead.
        return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _name_of(address: str) -> str:
    """Return the abstract name of an address's socket."""
    return f"\0{address.partition(SEPARATOR)[0]}"
