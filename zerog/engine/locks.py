"""Locks of unique jobs: at most one job of a key is live, however many programs submit it and die.

The lock is a document of its own that names a job. It is written before what depends on it: before the job is created,
before one that has ended is retried. Nothing is decided by age, so no program can be too slow:

* A lock whose job doesn't exist reserves that uuid for all submits: the ``create`` that succeeds makes the job.
* A lock whose job holds the key no more (``zerog.records.unique.is_held``) is taken over by compare-and-swap. Every
  program reads the lock first, then the job that it names.
* To rely on a job that is live takes a firm lock: one that was written after its writer had read it and then had seen
  the job live. So a program that read it earlier, and saw no live job there, fails. A submit makes its lock firm;
  otherwise the submit that joins the job does, or its first claim.
* The first claim reads the lock; a job that it doesn't name by then ends as cancelled. What a crash or a race has left
  thus never runs.

``tests/engine/unique_model.py`` is a model of it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from zerog.contracts.datastore import Datastore
from zerog.engine import transitions
from zerog.engine.limited import SlotVerbs
from zerog.engine.transitions import Claim, Settlement
from zerog.exceptions import InvalidValue, JobStateError
from zerog.records.fields import NEW
from zerog.records.job import CANCELLED, CANCELLED_STATUS, TERMINAL, Document, make_key
from zerog.records.operations import Append
from zerog.records.unique import is_firm, is_held, is_over, lock_document, lock_in, lock_key, named_by, shown_key
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

Read = tuple[Document, int] | tuple[None, None]
"""A head and its token, or twice None."""


class UniqueLocks(SlotVerbs):
    """What the verbs do with the locks of unique jobs."""

    def confirm(self, claim: Claim) -> bool:
        """Return True if the run of a bound job may begin. Otherwise ``given_back`` is what to settle in its place."""
        if not claim.is_confirmed:
            self.confirm_all([claim])
        return claim.is_confirmed and claim.ending is None

    def confirm_all(self, claims: Sequence[Claim]) -> None:
        """Decide which runs of these bound jobs may begin (``confirm``).

        The lock of a unique job that has never begun is written first. If it names another job that holds the key,
        this one ends as cancelled. Then the slots of limits are taken; without one the job is parked. If a lock or slot
        can't be written, the claim is given back.
        """
        unlocked: list[Claim] = []
        for claim in claims:
            if claim.is_confirmed:
                continue
            try:
                if claim.head.get("uniqueLock") is not None:
                    self._look_at_lock(claim)
            except Exception as error:  # a driver's, too: the claim must be given back
                log.warning("job %s is given back: its lock can't be written: %s", claim.uuid, error)
                claim.ending = transitions.given_back(claim)
            if claim.ending is None:
                unlocked.append(claim)
            else:
                claim.is_confirmed = True
        self.take_slots(unlocked)

    def _look_at_lock(self, claim: Claim) -> None:
        key, lock = lock_key(claim.head), claim.head["uniqueLock"]
        if key is not None and not lock.get("begun") and not is_over(lock, self._now()):
            other = self._secure(key, claim.uuid)
            if other is not None:
                claim.ending = self._ending(claim, other)

    def _ending(self, claim: Claim, other: Document) -> Settlement:
        """Return the end of a job whose key is another's."""
        self._count("cancelled.duplicate")
        text = duplicate_of(other)
        log.warning("job %s is %s", claim.uuid, text)
        event = transitions.event_record(transitions.stamp(claim.head, self._now()), text)
        operations = [Append("events", event, self.kept(claim.head))]
        return Settlement(claim, "finish", claim.seq + 1, CANCELLED, status=CANCELLED_STATUS, operations=[*operations])

    def _secure(self, key: str, uuid: str, is_retry: bool = False) -> Document | None:
        """Make a lock name a job, firmly unless it is retried; or return the head of another one that holds the key."""
        attempts = self._attempts(key)
        while True:
            lock, token = self._read(key)
            named = named_by(lock)
            if named == uuid and is_firm(lock) and not is_retry:
                return None
            with attempts:
                if named != uuid and (other := self._holder(key, lock, token)) is not None:
                    return other
                self._write_lock(key, uuid, token, not is_retry)
                return None

    def _holder(self, key: str, lock: Document | None, token: int | None, connection: Any = None) -> Document | None:
        """Return the head of the job that a lock names if it holds the key, and make the lock firm; otherwise None.

        Raises what a refused write raises if the lock has changed since it was read.
        """
        named = named_by(lock)
        if named is None:
            return None
        head, _ = self._read(make_key(named), connection)
        if not is_held(head, key, self._now()):
            return None
        if not is_firm(lock):
            self._write_lock(key, named, token, True, connection)
        return head

    def _write_lock(self, key: str, uuid: str, token: int | None, firm: bool, connection: Any = None) -> None:
        failpoint("unique.lock")
        with self._opened(connection) as datastore:
            datastore.set_with_cas(key, lock_document(uuid, firm), token or 0)
        failpoint("unique.locked")

    def _hold_for_retry(self, head: Document) -> None:
        """Make the lock of a job that is to be retried name it. Raises JobStateError if another live job has it."""
        key = lock_key(head)
        if key is None:
            return
        other = self._secure(key, head["uuid"], is_retry=True)
        if other is not None and other["status"] not in TERMINAL:
            raise JobStateError(
                f"job {head['uuid']} can't be retried: job {other['uuid']}, which is {other['status']}, has its key "
                f"({shown_key(head)}). Nothing was changed."
            )

    def _drop_lock(self, head: Document) -> None:
        """Remove the lock of a job that is about to be removed, if it names that job and the job is not retried."""
        key = lock_key(head)
        if key is None:
            return
        attempts = self._attempts(key)
        while True:
            lock, token = self._read(key)
            if named_by(lock) != head["uuid"]:
                return
            stored, _ = self._read(make_key(head["uuid"]))
            if stored is not None and stored.get("status") not in (NEW, *TERMINAL):
                return
            with attempts:
                failpoint("unique.drop")
                self.datastore.delete(key, cas=token)
                failpoint("unique.dropped")
                return

    def _read(self, key: str, connection: Any = None) -> Read:
        with self._opened(connection) as datastore:
            return datastore.read_with_cas(key, head=True)

    @contextmanager
    def _opened(self, connection: Any) -> Generator[Datastore]:
        """Yield the datastore, or what works in the transaction of ``connection``."""
        if connection is None:
            yield self.datastore
        else:
            with self._within(connection) as within:
                yield within.datastore


def check_key_is_kept(head: Document, fields: dict[str, Any]) -> None:
    """Refuse an edit of the fields of a job's key. Raises InvalidValue."""
    lock = lock_in(head)
    of_key = [name for name in fields if lock is not None and name in (lock.get("fields") or ())]
    if of_key:
        raise InvalidValue(
            f"{', '.join(of_key)} of job {head['uuid']} can't be edited: the job is unique by it ({shown_key(head)}). "
            "Cancel the job and submit another one. Nothing was changed."
        )


def duplicate_of(other: Document) -> str:
    """Return why a job ends whose key another one has."""
    return f"cancelled: job {other['uuid']} has its key ({shown_key(other)}), and two jobs of one key don't run"
