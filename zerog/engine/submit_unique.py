"""Submit unique jobs: the lock of the key first, then the job under the uuid that the lock names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from zerog.engine import joblog, transitions
from zerog.engine.cas import TRIES
from zerog.engine.locks import duplicate_of
from zerog.engine.submit import SubmitVerbs
from zerog.exceptions import CasMismatch, DatastoreError, JobStateError, TooManyCollisions
from zerog.records.job import RUNNING, SCHEDULED, TERMINAL, WAITING, Document, make_key, new_uuid
from zerog.records.operations import Append, Operation, Set
from zerog.records.unique import STARTED, is_firm, is_held, lock_key, named_by
from zerog.support.clock import text_after
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

Replace = Callable[[Document, int], list[Operation]]
"""Returns the operations that give a waiting job, by its head, the parameters of the document with this index."""


class Submitted(NamedTuple):
    """A job as it is stored, and whether this submit has made it."""

    document: Document
    token: int
    is_new: bool


class UniqueSubmitVerb(SubmitVerbs):
    """The verb for submitting unique jobs."""

    def submit_unique(
        self, documents: Sequence[Document], delay: float = 0, connection: Any = None, replace: Replace | None = None
    ) -> list[Submitted]:
        """Accept new documents with ``uniqueLock``; for each return the job that has its key now.

        Locks are taken in the order of their keys, lest two callers' transactions wait for each other. ``connection``
        as for ``submit_within``. ``replace``: change a job that waits instead of returning it as it is. Raises what
        ``submit`` and ``submit_within`` raise; jobs of other keys may be stored then, unless in a transaction.
        """
        order = sorted(range(len(documents)), key=lambda index: str(lock_key(documents[index])))
        answers: dict[int, Submitted] = {}
        whole: AbstractContextManager[Any] = nullcontext() if connection is None else self._within(connection)
        with whole:
            for index in order:
                answers[index] = self._submit_one(documents[index], index, delay, connection, replace)
        return [answers[index] for index in range(len(documents))]

    def _submit_one(
        self, document: Document, index: int, delay: float, connection: Any, replace: Replace | None
    ) -> Submitted:
        key = str(lock_key(document))
        for _ in range(TRIES):
            found = self._acquire(key, document["uuid"], connection)
            if isinstance(found, Submitted):
                if replace is None:
                    return found
                answer = self._replace(found, delay, replace(found.document, index))
            else:
                answer = self._create_under(key, found, document, delay, connection)
                if found == document["uuid"]:  # another program may have made a job of it
                    document = _renamed(document, new_uuid())
            if answer is not None:
                return answer
        raise TooManyCollisions(f"{key} was changed by others {TRIES} times in a row; no job was submitted")

    def _acquire(self, key: str, uuid: str, connection: Any) -> str | Submitted:
        """Return the job that holds the key; if there is none, the uuid that the lock names, which may be ``uuid``."""
        attempts = self._attempts(key)
        while True:
            lock, token = self._read(key, connection)
            named = named_by(lock)
            with attempts:
                if named is not None:
                    head, at = self._read(make_key(named), connection)
                    if head is None or at is None:
                        return named
                    if is_held(head, key, self._now()):
                        if not is_firm(lock):
                            self._write_lock(key, named, token, True, connection)
                        elif self._read(key, connection)[1] != token:  # the job may have been retried in between
                            continue
                        return Submitted(head, at, is_new=False)
                self._write_lock(key, uuid, token, False, connection)
                return uuid

    def _create_under(self, key: str, uuid: str, document: Document, delay: float, connection: Any) -> Submitted | None:
        """Create a job under a uuid that the lock named; None if the key has to be looked at again."""
        new = _renamed(document, uuid)
        try:
            if connection is None:
                [(stored, token)] = self.submit([new], delay)
            else:
                [(stored, token)] = self.submit_within(connection, [new], delay)
        except (CasMismatch, self.datastore.casException):
            head, at = self._read(make_key(uuid), connection)
            if uuid != document["uuid"] or head is None or at is None:
                return None
            if lock_key(head) != key:  # a uuid that the caller has chosen
                raise
            # Its submit has read this call's lock, so the job is no older than the call.
            has_run = head["status"] in TERMINAL and head["uniqueLock"].get("begun")
            return Submitted(head, at, is_new=False) if has_run else None
        try:
            is_kept = self._is_kept(key, uuid, connection)
        except DatastoreError as error:  # the job is stored, and its first claim looks at the lock
            log.warning("job %s is stored, but the lock of its key can't be written again: %s", uuid, error)
            is_kept = True
        return Submitted(stored, token, is_new=True) if is_kept else None

    def _is_kept(self, key: str, uuid: str, connection: Any) -> bool:
        """Make the lock of a job just made firm; False if another one has the key, and this one has ended or will."""
        attempts = self._attempts(key)
        while True:
            lock, token = self._read(key, connection)
            with attempts:
                if named_by(lock) != uuid:
                    other = self._holder(key, lock, token, connection)
                    head, at = self._read(make_key(uuid), connection)
                    if head is None or head["uniqueLock"].get("begun"):
                        return True
                    if head["status"] not in WAITING:  # its claim ends it, unless a key is held until that alone
                        return bool(head["status"] == RUNNING and head["uniqueLock"]["until"] == STARTED)
                    if other is not None:
                        self._end_duplicate(head, at, other, connection)
                        return False
                self._write_lock(key, uuid, token, True, connection)
                return True

    def _end_duplicate(self, head: Document, token: int | None, other: Document, connection: Any) -> None:
        """End a waiting job whose key another one holds. Raises what a refused write raises."""
        now = self._now()
        event = transitions.event_record(transitions.stamp(head, now), duplicate_of(other))
        operations = [*transitions.cancelled(head, now), Append("events", event, self.kept(head))]
        with self._opened(connection) as datastore:
            datastore.mutate(make_key(head["uuid"]), operations, cas=token)
        self._count("cancelled.duplicate")
        joblog.cancelled(head)

    def _replace(self, found: Submitted, delay: float, changes: list[Operation]) -> Submitted | None:
        """Change a job that waits, and let it wait ``delay`` seconds from now; None if it doesn't wait any more."""
        head, token, _ = found
        uuid, key = head["uuid"], make_key(head["uuid"])
        now = self._now()
        due = text_after(now, delay) if delay > 0 else None
        event = transitions.event_record(transitions.stamp(head, now), "parameters replaced by another submit")
        operations = transitions.edited(changes, event, now, self.kept(head)) if changes else []
        try:
            if head["status"] in WAITING and (due is None or due < (head["notBefore"] or "")) and head["notBefore"]:
                return Submitted(*self.enqueue(uuid, delay, operations), is_new=False)
            if due is not None:
                operations += [Set("notBefore", due), Set("status", SCHEDULED)]
            if operations:
                failpoint("unique.replace")
                token = self.datastore.mutate(key, operations, cas=token).token
                failpoint("unique.replaced")
            head, token = self.read(uuid)
            return Submitted(head, token, is_new=False)
        except (JobStateError, *self._refusals):  # type: ignore[misc]
            return None


def _renamed(document: Document, uuid: str) -> Document:
    """Return a document with another uuid."""
    is_default = document["logId"] == document["uuid"][-8:]
    return {**document, "uuid": uuid, "logId": uuid[-8:] if is_default else document["logId"]}
