"""One beanstalkd server: connections, each on one tube, and errors translated to ZeroG's.

A connection is opened when it is first needed, serves one call or one reservation at a time, and is never used by a
forked child. It is closed as soon as an answer is missing or odd, and one that the server has closed is replaced before
its next use; then the server returns to its tube whatever was reserved through it. No command is ever sent twice.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zerog.backends.beanstalkd.url import parse, tube_of
from zerog.exceptions import ConfigurationError, QueueUnavailable
from zerog.support.extras import how_to_install

try:
    import greenstalk
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"beanstalkd:// needs greenstalk, which can't be imported ({error}); {how_to_install('beanstalkd')}"
    ) from None

NotFound = greenstalk.NotFoundError

PAUSE = 0.05
"""Seconds between two polls through a connection that has a reserved entry in its last second."""

REFUSALS = {
    greenstalk.DrainingError: "is in drain mode and takes no entries until it is restarted",
    greenstalk.OutOfMemoryError: "has no memory left, or no room for its log",
    greenstalk.BuriedError: "has no memory left",
    greenstalk.JobTooBigError: "takes no body of 36 bytes; its option -z must allow that",
}
"""Answers that a user can do something about."""


class Connections:
    """The connections of one process that wait for a call, by tube, and those that a reservation keeps.

    The server accepts the end of a reservation through no other connection than its own.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.idle: dict[str, list[Connection]] = {}
        self.kept: set[Connection] = set()

    def close(self) -> None:
        """Close them; in a forked child only its own copies."""
        while self.kept:
            self.kept.pop().close()
        for idle in self.idle.values():
            while idle:
                idle.pop().close()


class Connection:
    """A connection that uses and watches one tube, for one thread at a time. Raises the errors of ``translated``."""

    def __init__(self, address: tuple[str, int], timeout: float, tube: str, home: Connections) -> None:
        self.tube = tube
        self.home = home
        self._timeout = timeout
        self._socket = socket.create_connection(address, timeout)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.client: greenstalk.Client[bytes] = greenstalk.Client(self._socket, None)
        except BaseException:
            self._socket.close()
            raise
        try:
            self.client.use(tube)
            self.client.watch(tube)
            self.client.ignore(greenstalk.DEFAULT_TUBE)
        except BaseException:
            self.client.close()
            raise

    def reserve(self, seconds: int) -> greenstalk.Job[bytes] | None:
        """Return the next entry, waiting for it; None if none came."""
        self._socket.settimeout(self._timeout + seconds)
        try:
            return self.client.reserve(seconds)
        except greenstalk.TimedOutError:
            return None
        except greenstalk.DeadlineSoonError:  # of an entry whose reservation was forgotten
            time.sleep(min(seconds, PAUSE))
            return None
        finally:
            self._socket.settimeout(self._timeout)

    def is_open(self) -> bool:
        """False if one side has closed the connection, or the server sent something that nothing has asked for."""
        if self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self.client.close()


class BeanstalkdServer:
    """The server of a URL. Safe to share between threads; a forked child opens its own connections.

    Raises ConfigurationError for an invalid URL; a missing server is noticed at the first call.
    """

    def __init__(self, url: str) -> None:
        self.name, host, port, self._prefix, self._timeout = parse(url)
        self._address = (host, port)
        self._connections = Connections()

    def tube_of(self, name: str) -> str:
        """Return the tube of a queue. Raises ConfigurationError for a name that is too long."""
        return tube_of(self._prefix, name)

    @contextmanager
    def connection(self, tube: str, what: str) -> Iterator[Connection]:
        """Lend a connection. ``what`` names the subject in an error. Raises QueueUnavailable."""
        with self.lent(self._take(tube, what), what) as connection:
            yield connection

    @contextmanager
    def lent(self, connection: Connection, what: str) -> Iterator[Connection]:
        """Take a connection back after its use, unless a reservation keeps it; close it if a call has failed."""
        try:
            with self._translated(what):
                yield connection
        except BaseException:
            connection.close()
            raise
        if connection not in connection.home.kept:
            self.take_back(connection)

    def take_back(self, connection: Connection) -> None:
        """Keep a connection for later calls."""
        if connection.home is self._of_this_process():
            connection.home.idle[connection.tube].append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the connections of this process, those in a call once it has ended. A later call opens new ones."""
        old, self._connections = self._of_this_process(), Connections()
        old.close()

    def _take(self, tube: str, what: str) -> Connection:
        home = self._of_this_process()
        idle = home.idle.setdefault(tube, [])
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                break
            if connection.is_open():
                return connection
            connection.close()
        with self._translated(what):
            return Connection(self._address, self._timeout, tube, home)

    def _of_this_process(self) -> Connections:
        if self._connections.pid != os.getpid():
            self._connections.close()
            self._connections = Connections()
        return self._connections

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Translate errors of the socket, and what greenstalk raises at an answer that is none of beanstalkd's."""
        try:
            yield
        except OSError as error:
            raise QueueUnavailable(f"{what}: {self.name} can't be reached ({_brief(error)})") from error
        except greenstalk.BeanstalkdError as error:
            refusal = REFUSALS.get(type(error), f"answers {_brief(error)}")
            raise QueueUnavailable(f"{what}: {self.name} {refusal}") from error
        except (greenstalk.Error, ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            raise QueueUnavailable(f"{what}: what answers at {self.name} is no beanstalkd ({_brief(error)})") from error


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
