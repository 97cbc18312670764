"""One run of a job: the numbers that fence its writes, and its interruptions.

Every write of a running job passes through ``Run.write``. One lock holds the number and the write until it is answered,
so that a write whose answer was lost is repeated under the same number and applied once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from zerog.contracts.datastore import Datastore, Mutation, RunGuard
from zerog.engine.transitions import is_to_pause
from zerog.exceptions import (
    AmbiguousWrite,
    Cancelled,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    InvalidValue,
    Paused,
    RunInterrupted,
    SoftTimeout,
    TooManyCollisions,
)
from zerog.records.operations import Operation
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

PATIENCE = 20.0
"""Seconds for which a write waits for a datastore that can't be reached: two thirds of the default lease."""


class Run:
    """The right to write to one job's document, for as long as the claim lasts."""

    def __init__(
        self,
        datastore: Datastore,
        key: str,
        run: RunGuard,
        seq: int = 0,
        patience: float = PATIENCE,
        clock: Clock = SYSTEM,
        stopping: threading.Event | None = None,
        build: str | None = None,
        soft_limit: float | None = None,
    ) -> None:
        """``run``: the run whose writes these are; ``seq``: the number of its last one.

        ``soft_limit``: seconds from now after which the thread that makes this object is interrupted.
        """
        self.datastore = datastore
        self.key = key
        self.name = run
        self.seq = seq
        self.stopping = stopping or threading.Event()
        self.build = build
        """Build of the code that executes this run; kept with its errors."""
        self.cancelled = False
        """True if the run is to stop since its job is cancelled or paused."""
        self.is_pause = False
        """True if it is to stop for a pause."""
        self.returned: Any = None
        """What ``run()`` of the job returned, if it has hooks that may look at it."""
        self._has_raised_cancelled = False
        self._soft_limit = soft_limit
        self._limit_at = None if soft_limit is None else clock.monotonic() + soft_limit
        self._thread = threading.get_ident()
        self.waker: Callable[[], object] | None = None
        """Called from any thread to deliver an interruption at once, if the run can be woken."""
        self._patience = patience
        self._clock = clock
        self.turn = threading.RLock()
        """Held from building a write until its answer is applied."""
        self._revoked: str | None = None

    def revoke(self, why: str) -> None:
        """Revoke the right to write: from now on every write and check raises ClaimLost."""
        self._revoked = why

    @property
    def is_revoked(self) -> bool:
        """True if the claim is known to be lost."""
        return self._revoked is not None

    def cancel(self, is_pause: bool = False) -> None:
        """Interrupt the run because its job was cancelled or paused: at its next check, or at once if it can be woken.

        A pause doesn't replace a cancellation.
        """
        self.is_pause = is_pause and (self.is_pause or not self.cancelled)
        self.cancelled = True
        if self.waker is not None:
            self.waker()

    def check(self) -> None:
        """Raise ClaimLost, Cancelled or Paused if the run should stop; SoftTimeout, once, if it took too long.

        The limit is that of ``run()``, so SoftTimeout is raised in its own thread only.
        """
        if self._revoked is not None:
            raise ClaimLost(self._revoked)
        if self.cancelled:
            raise self._cancelled()
        self._check_limit()

    def _check_limit(self) -> None:
        if self._limit_at is not None and threading.get_ident() == self._thread and self.seconds_left() == 0:
            raise self._over_limit()

    def seconds_left(self) -> float | None:
        """Return the seconds until SoftTimeout, 0 once it is due; None without a limit, or after it was raised."""
        return None if self._limit_at is None else max(0.0, self._limit_at - self._clock.monotonic())

    def lift_limit(self) -> None:
        """End the soft limit after ``run()``: the rest is not interrupted."""
        self._limit_at = None

    @property
    def is_due(self) -> bool:
        """True if an interruption of the run is due."""
        return (self.cancelled and not self._has_raised_cancelled) or self.seconds_left() == 0

    def interruption(self) -> RunInterrupted | None:
        """Take the interruption that is due, if any; the caller must raise it in the run."""
        if self.cancelled and not self._has_raised_cancelled:
            return self._cancelled()
        return self._over_limit() if self.seconds_left() == 0 else None

    def _cancelled(self) -> Cancelled | Paused:
        self._has_raised_cancelled = True
        self._limit_at = None  # the cleanup must not be interrupted again
        if self.is_pause:
            return Paused(f"{self.key} was paused while it ran")
        return Cancelled(f"{self.key} was cancelled while it ran")

    def _over_limit(self) -> SoftTimeout:
        self._limit_at = None
        return SoftTimeout(f"the run took longer than its SOFT_TIMEOUT of {self._soft_limit} s")

    def write(self, operations: Sequence[Operation], cas: int | None = None) -> Mutation:
        """Make one fenced write. Raises ClaimLost, and the errors of ``mutate`` for a write that was refused.

        Afterwards the caller applies the answer and calls ``notice``.
        """
        with self.turn:
            if self._revoked is not None:
                raise ClaimLost(self._revoked)
            return self._write(operations, cas)

    def notice(self, mutation: Mutation) -> None:
        """Raise Cancelled or Paused, once, if the answer to a write shows that the run is to stop; or SoftTimeout."""
        if mutation.cancel_requested and not self.cancelled:
            self.is_pause = self._is_for_pause()
            self.cancelled = True
        if self.cancelled and not self._has_raised_cancelled:
            raise self._cancelled()
        self._check_limit()

    def _is_for_pause(self) -> bool:
        """Return True if the run is to stop for a pause; after a doubt, whose settlement finds a cancellation, too."""
        try:
            return is_to_pause(self.datastore.read_with_cas(self.key, head=True)[0] or {})
        except (DatastoreError, CorruptDocument):
            return True

    def close(self, timeout: float = 5.0) -> int | None:
        """End the run's own writing and return the number for the settling write.

        None if a write is still unanswered after ``timeout`` seconds: then the next number is unknown, and the lease
        decides.
        """
        try:
            if not self.turn.acquire(timeout=timeout):
                return None
            self._revoked = self._revoked or f"the run of {self.key} has ended; nothing can be written from it any more"
            return self.seq + 1
        finally:
            with suppress(RuntimeError):  # it isn't held
                self.turn.release()

    def _write(self, operations: Sequence[Operation], cas: int | None) -> Mutation:
        deadline = self._clock.monotonic() + self._patience
        pause = 0.01
        unknown = False
        failpoint("run.write")
        while True:
            try:
                mutation = self.datastore.mutate(
                    self.key, operations, cas=cas, run=self.name._replace(seq=self.seq + 1)
                )
                failpoint("run.written")
                self.seq += 1
                return mutation
            except ClaimLost as error:
                self._revoked = str(error)
                raise
            except (AmbiguousWrite, DatastoreUnavailable, self.datastore.lockedException) as error:
                if self._revoked is not None:
                    raise ClaimLost(self._revoked) from error
                unknown = unknown or isinstance(error, AmbiguousWrite)
                if self._clock.monotonic() > deadline:
                    if unknown:
                        self._give_up(error)
                    raise
                # A write that was stored has changed the token itself; from here on its number fences it.
                cas = None if unknown else cas
            except (self.datastore.casException, CorruptDocument, InvalidValue, TooManyCollisions) as error:
                if unknown:
                    self._give_up(error)
                raise
            except BaseException as error:
                self._revoke_unknown(error)
                raise
            self._clock.pause(pause)
            pause = min(pause * 2, 1.0)

    def _give_up(self, error: Exception) -> NoReturn:
        self._revoke_unknown(error)
        raise ClaimLost(self._revoked) from error

    def _revoke_unknown(self, error: BaseException) -> None:
        """Revoke the run after a write that may or may not be stored: the number of the next one is unknown.

        Under the same number another write would pass for its repetition and be dropped with the answer "done".
        """
        self._revoked = f"it is unknown whether the last write to {self.key} is stored ({error!r:.200}); the run ends"
