"""A queue on a beanstalkd server: a tube whose jobs have a uuid as body.

An entry belongs to the connection that has reserved it: it returns to the tube when its time to run is over, at once
when that connection is closed (its process was killed, the network is cut, the server restarts), and is deleted or
released through that connection only. A claim takes it off as soon as it is won, so no run has to outlast the time to
run, and nothing here prolongs that; a second delivery is judged by the document.

beanstalkd counts in whole seconds: delays and times to run are rounded up, so that nothing is early. It gives the ids
of its entries again after a restart without its log, so an entry is looked up by its id and its body.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from zerog.backends.beanstalkd.server import BeanstalkdServer, Connection, NotFound
from zerog.contracts.queue import DEFAULT, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.contracts.troubles import Trouble
from zerog.exceptions import InvalidUuid, ReservationLost
from zerog.records.job import check_uuid
from zerog.support.texts import counted

if TYPE_CHECKING:
    from greenstalk import Client, Job

BLOCK = 1
"""Seconds of one wait by the server. A longer wait is several, with checks of the time and ``wake`` in between."""

REJECTED = 1_000
"""Rejected entries that are kept of a queue, as buried jobs of its tube."""

LARGEST = 2**32 - 1
"""The largest delay and time to run that beanstalkd knows."""

LARGEST_ID = 2**64 - 1

HIGHEST = 2**15 - 1
"""Priorities beyond this, and below its negative, count as these."""

SHARE = 2**16
"""Each priority is so many of beanstalkd's, of which 0 is the most urgent: the last for what is put at the back, the
others for what is put in front, each before the one before."""


class BeanstalkdQueue(Queue):
    """The queue ``name`` on the server of a URL, for example ``beanstalkd://localhost:11300?prefix=shop``."""

    def __init__(self, server: BeanstalkdServer | str, name: str = DEFAULT) -> None:
        self.name = name
        self.server = BeanstalkdServer(server) if isinstance(server, str) else server
        self.tube = self.server.tube_of(name)
        self.rejects = f"the buried jobs of tube {self.tube}"
        self._woken = threading.Event()

    def queue_named(self, name: str) -> BeanstalkdQueue:
        return self if name == self.name else BeanstalkdQueue(self.server, name)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> int:
        uuid = check_uuid(uuid)
        check_options(delay, priority, ttr)
        with self.server.connection(self.tube, f"{uuid} was not put on {self.name}, or its answer was lost") as lent:
            urgency = _urgency(lent.client, priority, front)
            return lent.client.put(uuid.encode(), urgency, _seconds(delay), _seconds(TTR if ttr is None else ttr))

    def reserve(self, timeout: float = 0) -> Reservation | None:
        """Return the next entry, or None if none arrives within ``timeout`` seconds, rounded up to whole ones."""
        deadline = monotonic() + timeout
        while True:
            seconds = BLOCK if monotonic() < deadline else 0
            with self.server.connection(self.tube, f"queue {self.name}") as connection:
                job = connection.reserve(seconds)
                uuid = None if job is None else _uuid_in(job.body)
                if job is not None and uuid is not None:
                    return _BeanstalkdReservation(self, connection, job, uuid)
                if job is not None:
                    self._set_aside(connection.client, job)
            if job is None and monotonic() >= deadline:
                return None
            if job is None and self._woken.is_set():
                self._woken.clear()
                return None

    def wake(self) -> None:
        self._woken.set()

    def size(self) -> int:
        with self.server.connection(self.tube, f"queue {self.name}") as connection:
            counts = connection.client.stats_tube(self.tube)
            return counts["current-jobs-ready"] + counts["current-jobs-delayed"] + counts["current-jobs-reserved"]

    def holds(self, entry: Entry) -> bool | None:
        return self.holds_all([entry])[0]

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        with self.server.connection(self.tube, f"queue {self.name}") as connection:
            return [self._holds(connection.client, entry) for entry in entries]

    def withdraw(self, entry: Entry) -> bool:
        """Delete an entry; one that another connection has reserved stays until that lets it go."""
        with self.server.connection(self.tube, f"queue {self.name}") as connection:
            if not self._holds(connection.client, entry):
                return False
            try:
                connection.client.delete(entry.id)
            except NotFound:
                return False
            return True

    def troubles(self) -> list[Trouble]:
        with self.server.connection(self.tube, f"queue {self.name}") as connection:
            is_draining = connection.client.stats()["draining"] == "true"
            tube = connection.client.stats_tube(self.tube)
            pause, buried = tube["pause-time-left"], tube["current-jobs-buried"]
        found = []
        if is_draining:
            found.append(Trouble(f"{self.server.name} is in drain mode and takes no entries", "restart beanstalkd"))
        if pause:
            what = f"tube {self.tube} is paused for {pause} s more, by another program than ZeroG"
            found.append(Trouble(what, "wait, or end it by pause-tube with 0"))
        if buried:
            what = f"{counted(buried, 'entry', 'entries')} of tube {self.tube} without a job set aside (buried)"
            found.append(Trouble(what, "look at them by peek-buried, and find the program that puts them; delete them"))
        return found

    def close(self) -> None:
        self.server.close()

    def _holds(self, client: Client[bytes], entry: Entry) -> bool:
        if type(entry.id) is not int or not 0 < entry.id <= LARGEST_ID:
            return False
        try:
            if _uuid_in(client.peek(entry.id).body) != entry.uuid:
                return False
            found = client.stats_job(entry.id)
        except NotFound:
            return False
        return found["tube"] == self.tube and found["state"] != "buried"

    def _set_aside(self, client: Client[bytes], job: Job[bytes]) -> None:
        """Bury an entry that leads to no job; remove the oldest one beyond REJECTED."""
        client.bury(job)
        if client.stats_tube(self.tube)["current-jobs-buried"] > REJECTED:
            client.delete(client.peek_buried())
        self.reject(1)


class _BeanstalkdReservation(Reservation):
    """An entry, with the connection that it belongs to."""

    def __init__(self, queue: BeanstalkdQueue, connection: Connection, job: Job[bytes], uuid: str) -> None:
        self.uuid = uuid
        self._queue = queue
        self._job = job
        connection.home.kept.add(connection)
        self._connection = [connection]  # taken out by the one thread that settles

    def __del__(self) -> None:
        """Let a forgotten entry return after its time to run: closing its connection would return it at once."""
        while self._connection:
            connection = self._connection.pop()
            connection.home.kept.discard(connection)
            self._queue.server.take_back(connection)

    def delete(self) -> None:
        self._settle(lambda client: client.delete(self._job))

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        seconds = _seconds(delay)
        self._settle(lambda client: client.release(self._job, client.stats_job(self._job)["pri"], seconds))

    def _settle(self, command: Callable[[Client[bytes]], None]) -> None:
        what = f"entry {self._job.id} of queue {self._queue.name}"
        try:
            connection = self._connection.pop()
        except IndexError:
            raise ReservationLost(f"{what} was deleted or released before") from None
        connection.home.kept.discard(connection)
        if connection.home.pid != os.getpid() or not connection.is_open():
            connection.close()
            raise ReservationLost(f"{what} was reserved through a connection that is closed, so it comes again")
        with self._queue.server.lent(connection, what):
            try:
                return command(connection.client)
            except NotFound:
                pass
        raise ReservationLost(f"{what} is not reserved here any more")


def _uuid_in(body: bytes) -> str | None:
    """Return the uuid of an entry; None if it can lead to no job."""
    try:
        return check_uuid(body.decode("ascii"))
    except (UnicodeDecodeError, InvalidUuid):
        return None


def _seconds(seconds: float) -> int:
    return math.ceil(min(seconds, LARGEST))


def _urgency(client: Client[bytes], priority: int, front: bool) -> int:
    """Return the priority as beanstalkd counts; ``front``: before the tube's next entry if that has the same one."""
    first = SHARE * (HIGHEST - min(max(priority, -HIGHEST), HIGHEST))
    last = first + SHARE - 1
    if not front:
        return last
    try:
        following = client.stats_job(client.peek_ready())["pri"]
    except NotFound:
        following = last
    return max(following - 1, first) if first <= following <= last else last - 1
