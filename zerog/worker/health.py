"""A worker's health, reported to its supervisor, to systemd, or in a file for a probe.

The messages are those of systemd's sd_notify(3): ``READY=1`` once, when the worker holds its lease and claims jobs;
``STATUS=`` for people; ``WATCHDOG=1`` as a heartbeat while it is well; ``STOPPING=1`` at the end, and then
``EXTEND_TIMEOUT_USEC=`` while it waits for jobs beyond the grace. Its supervisor gets the same lines through the link
between them; a heartbeat file gets a new modification time with each ``WATCHDOG=1``.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ConfigurationError
from zerog.support.clock import SYSTEM, Clock
from zerog.support.ownership import check_owner
from zerog.support.texts import counted
from zerog.worker.fetcher import Fetcher
from zerog.worker.lease import Lease

log = logging.getLogger("zerog")

SOCKET_VARIABLE, PATIENCE_VARIABLE, PID_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
"""The variables of sd_notify(3) and sd_watchdog_enabled(3)."""

PATIENCE = 60.0
"""Seconds without a heartbeat after which a file's owner counts as stuck; WATCHDOG_USEC overrides it."""

RETIRED = "X_ZEROG_RETIRED=1"
"""Message of a worker that was drained for good to its supervisor; systemd ignores messages that begin with X_."""

RECYCLED = "X_ZEROG_RECYCLED=1"
"""Message of a worker that has reached its limits to its supervisor, which replaces it at once."""

STATUS_SECONDS = 5.0
"""Seconds between two changes of the status text at least."""

EXTENSION = 10.0
"""Seconds that a process which needs longer to end requests at a time."""

EXTEND = "EXTEND_TIMEOUT_USEC="
"""Message of that request; of sd_notify(3), too."""

Outlet = Callable[[str], None]


class HealthReporter:
    """Reports the state of this process. Without outlets it does nothing.

    ``patience``: seconds without a heartbeat that count as a hang; None if no supervisor or probe watches.
    """

    def __init__(self, outlets: Sequence[Outlet] = (), patience: float | None = None, clock: Clock = SYSTEM) -> None:
        self._outlets = tuple(outlets)
        self._clock = clock
        self.patience = patience
        self.pace = patience / 4 if patience is not None else STATUS_SECONDS
        """Seconds between two calls of ``beat`` at most."""
        self._is_ready = False
        self._is_delivered = True
        self._status = ""
        self._beat_at = self._status_at = self._extended_at = float("-inf")

    def beat(self, status: str, is_ready: bool = True) -> None:
        """Report that this process is well. To be called every ``pace`` seconds or faster; sends only what is due."""
        if not self._outlets:
            return
        lines = []
        now = self._clock.monotonic()
        if is_ready and not self._is_ready:
            lines.append("READY=1")
        is_ready = is_ready or self._is_ready
        if self.patience is not None and is_ready and now - self._beat_at >= self.pace:
            self._beat_at = now
            lines.append("WATCHDOG=1")
        if status != self._status and (now - self._status_at >= STATUS_SECONDS or "READY=1" in lines):
            self._status, self._status_at = status, now
            lines.append(f"STATUS={status}")
        if self._notify(lines):
            self._is_ready = is_ready

    def retiring(self) -> None:
        """Report that this process is about to end for good; it is not to be replaced."""
        self._notify([RETIRED])

    def recycling(self) -> None:
        """Report that this process has reached its limits and ends; its supervisor may replace it at once."""
        self._notify([RECYCLED])

    def stopping(self, status: str) -> None:
        """Report that this process ends; there are no more heartbeats."""
        self._notify(["STOPPING=1", f"STATUS={status}"])

    def extend(self, status: str) -> None:
        """Request more time to end. To be called again and again meanwhile."""
        now = self._clock.monotonic()
        if now - self._extended_at >= EXTENSION / 10:
            self._extended_at = now
            self._notify([f"{EXTEND}{round(EXTENSION * 1e6)}", f"STATUS={status}"])

    def _notify(self, lines: list[str]) -> bool:
        """Send the lines to all outlets; False if one failed. Failures are logged once until all succeed again."""
        if not lines:
            return True
        failure: OSError | None = None
        for outlet in self._outlets:
            try:
                outlet("\n".join(lines))
            except OSError as error:
                failure = error
        if failure is not None and self._is_delivered:
            log.warning("the supervisor of this process could not be notified of %s: %s", lines[0], failure)
        self._is_delivered = failure is None
        return self._is_delivered


def from_environment(
    heartbeat: Path | None = None, link: socket.socket | None = None, clock: Clock = SYSTEM
) -> HealthReporter:
    """Return a reporter for all outlets. Removes the variables from the environment: they are not for children.

    ``heartbeat``: a file to touch; ``link``: to the supervisor of this process. Raises ConfigurationError.
    """
    address = os.environ.pop(SOCKET_VARIABLE, "")
    patience = _patience(os.environ.pop(PATIENCE_VARIABLE, ""), os.environ.pop(PID_VARIABLE, ""))
    outlets: list[Outlet] = []
    if address:
        outlets.append(_to_socket(address))
    if link is not None:
        outlets.append(_to_link(link))
    if heartbeat is not None:
        outlets.append(_to_file(heartbeat))
        patience = patience or PATIENCE
    return HealthReporter(outlets, patience if outlets else None, clock)


def _patience(text: str, pid: str) -> float | None:
    if not text or (pid and pid != str(os.getpid())):
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ConfigurationError(f"{PATIENCE_VARIABLE}={text!r} in the environment; expected microseconds, 1 or more")
    return int(text) / 1e6


def _to_socket(address: str) -> Outlet:
    """Return an outlet to a socket. ``address``: a path, or a name in Linux's abstract namespace written with @."""
    if address[0] not in "/@" or len(address) < 2:
        raise ConfigurationError(f"{SOCKET_VARIABLE}={address!r} in the environment; expected /a/path or @name")
    name = "\0" + address[1:] if address[0] == "@" else address
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.settimeout(1.0)  # systemd may be busy, but a worker must not wait for it

    def notify(message: str) -> None:
        sender.sendto(message.encode(), name)

    return notify


def _to_link(link: socket.socket) -> Outlet:
    def notify(message: str) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # watch_supervisor logs that the supervisor is gone
            link.send(f"{message}\n".encode(), socket.MSG_DONTWAIT)

    return notify


def _to_file(path: Path) -> Outlet:
    if not path.parent.is_dir():
        raise ConfigurationError(f"--heartbeat {path}: there is no folder {path.parent}")
    try:
        check_owner(path)
    except PermissionError as error:
        raise ConfigurationError(f"--heartbeat {path}: {error.strerror}") from None

    def notify(message: str) -> None:
        if "WATCHDOG=1" in message:
            check_owner(path)
            path.touch()

    return notify


log = logging.getLogger("zerog")

STUCK_AFTER = 180.0
"""Seconds without progress after which a thread is stuck. A call of the datastore or the queue may take long while
they can't be reached, but their adapters time out: SQLite, the slowest, within two minutes."""


class Health:
    """Checks the threads that a worker can't work without."""

    def __init__(
        self, worker: WorkerIdentity, store: Fetcher, lease: Lease, reporter: HealthReporter, clock: Clock
    ) -> None:
        self._worker = worker
        self._fetcher = store
        self._lease = lease
        self._reporter = reporter
        self._clock = clock
        self._stuck: str | None = None

    def report(self) -> None:
        """Send a heartbeat unless a worker thread is stuck."""
        stuck = self._find_stuck()
        if stuck is None:
            self._reporter.beat(self._status(), is_ready=self._fetcher.answered and self._lease.held)
        elif self._stuck is None:
            log.error("worker %s: %s has made no progress for %.0f s", self._worker.name, stuck, STUCK_AFTER)
        self._stuck = stuck

    def _find_stuck(self) -> str | None:
        """Return the name of a thread that makes no progress, or None. Waiting for the datastore is no fault.

        While the lease can't be renewed the datastore is unavailable, and the fetcher may wait for it for any time.
        """
        now = self._clock.monotonic()
        if now - self._lease.turned > self._worker.lease / 3 + STUCK_AFTER:
            return "the thread that renews the lease"
        if self._lease.held and now - max(self._fetcher.turned, self._lease.held_since) > STUCK_AFTER:
            return "the thread that settles and claims"
        return None

    def _status(self) -> str:
        store = self._fetcher
        if not (store.answered and self._lease.held):
            return "waiting for the datastore"
        ended = ", ".join(f"{store.counts[name]} {name}" for name in ("succeeded", "failed", "requeued", "lost"))
        return f"{counted(store.in_flight(), 'job', 'jobs')} claimed; {ended}"
