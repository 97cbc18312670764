"""One run of a job: the numbers that fence its writes, and the ways in which it learns that it should stop.

Every write of a running job goes through ``Run.write``. One lock holds the number and the write until it is answered,
so that a write whose answer was lost is repeated under the same number and applied once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NoReturn

from zerog.clock import SYSTEM, Clock
from zerog.crashpoints import point
from zerog.datastores.base import Datastore, Mutation
from zerog.datastores.operations import Operation
from zerog.exceptions import (
    AmbiguousWrite,
    Cancelled,
    ClaimLost,
    CorruptDocument,
    DatastoreUnavailable,
    InvalidValue,
    TooManyCollisions,
)

PATIENCE = 20.0
"""Seconds for which a write waits for a datastore that can't be reached: two thirds of the default lease."""


class Run:
    """The right to write to one job's document, for as long as the claim lasts."""

    def __init__(
        self,
        datastore: Datastore,
        key: str,
        epoch: int,
        seq: int = 0,
        patience: float = PATIENCE,
        clock: Clock = SYSTEM,
        stopping: threading.Event | None = None,
        build: str | None = None,
    ) -> None:
        self.datastore = datastore
        self.key = key
        self.epoch = epoch
        self.seq = seq
        self.stopping = stopping or threading.Event()
        self.build = build
        """Which build of the code this run is of; kept with its errors."""
        self.cancelled = False
        self._patience = patience
        self._clock = clock
        self.turn = threading.RLock()
        """Held by whoever writes, from making up the write until its answer is taken over."""
        self._revoked: str | None = None

    def revoke(self, why: str) -> None:
        """End the right to write: from now on every write and check raises ClaimLost."""
        self._revoked = why

    @property
    def is_revoked(self) -> bool:
        """Whether the claim is known to be lost."""
        return self._revoked is not None

    def check(self) -> None:
        """Raise ClaimLost or Cancelled if the run should stop."""
        if self._revoked is not None:
            raise ClaimLost(self._revoked)
        if self.cancelled:
            raise Cancelled(f"{self.key} was cancelled while it ran")

    def write(self, operations: Sequence[Operation], cas: int | None = None) -> Mutation:
        """One fenced write. Raises ClaimLost, and what ``mutate`` raises for a write that was refused.

        Afterwards the caller takes the answer over and calls ``notice``.
        """
        with self.turn:
            if self._revoked is not None:
                raise ClaimLost(self._revoked)
            mutation = self._write(operations, cas)
            self.seq += 1
        return mutation

    def notice(self, mutation: Mutation) -> None:
        """Raise Cancelled, once, if the answer to a write says that the job is to be cancelled."""
        if mutation.cancel_requested and not self.cancelled:
            self.cancelled = True
            self.check()

    def close(self, timeout: float = 5.0) -> int | None:
        """End the run's own writing and return the number for the settling write.

        None if a write is still without an answer after ``timeout`` seconds: then nobody can say what the next
        number is, and the lease decides.
        """
        if not self.turn.acquire(timeout=timeout):
            return None
        try:
            self._revoked = self._revoked or f"the run of {self.key} has ended; nothing can be written from it any more"
            return self.seq + 1
        finally:
            self.turn.release()

    def _write(self, operations: Sequence[Operation], cas: int | None) -> Mutation:
        deadline = self._clock.monotonic() + self._patience
        pause = 0.01
        unknown = False
        point("run.write")
        while True:
            try:
                mutation = self.datastore.mutate(self.key, operations, cas=cas, epoch=self.epoch, seq=self.seq + 1)
                point("run.written")
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
                # A write that was stored has moved the token itself; from here on its number fences it.
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
        """A write that may or may not be stored leaves the number of the next one unknown.

        Under the same number another write would be taken for its repetition and be dropped with the answer "done".
        """
        self._revoked = f"nobody can say whether the last write to {self.key} is stored ({error!r:.200}); the run ends"
