"""Accept jobs: the document first, then the queue; after a lost answer the document is read back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from zerog.engine import joblog, transitions
from zerog.engine.cas import UNANSWERED
from zerog.engine.locks import UniqueLocks
from zerog.exceptions import AmbiguousWrite, DatastoreError, JobStateError
from zerog.records.fields import NEW, PENDING
from zerog.records.job import PAUSED, TERMINAL, WAITING, Document, check_layout, make_key
from zerog.records.limits import unlisted
from zerog.records.operations import Operation, apply
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

SAME = ("createdAt", "jobType", "queueName", "priority")
"""Fields that identify a document read back as the one whose creation was not answered."""


class SubmitVerbs(UniqueLocks):
    """The verbs for submitting jobs."""

    def submit(self, documents: Sequence[Document], delay: float = 0) -> list[tuple[Document, int]]:
        """Accept new documents; return each as stored, with its token.

        A document that was stored is accepted even if the queue can't be reached: it stays pending, ``queueJobId``
        is -1, and reconcile delivers it. Raises ``casException`` if a document of that uuid exists, AmbiguousWrite
        (naming the uuid that may exist) if that is unknown.
        """
        answers = []
        for some in self._groups(documents):
            stored = self._store(some, delay)
            joblog.submitted(document for document, _ in stored)
            answers += [self._put_unless_done(document, token, delay) for document, token in stored]
        return answers

    def submit_within(
        self, connection: Any, documents: Sequence[Document], delay: float = 0
    ) -> list[tuple[Document, int]]:
        """Accept new documents in the caller's transaction: they exist once that is committed; return as ``submit``.

        ``connection`` is one that ``App.submit`` takes. After an error none of the documents is in the transaction, and
        what the caller has written stays in it. Raises ConfigurationError if jobs can't be submitted on the connection,
        ``casException`` if a document of that uuid exists, DatastoreError.
        """
        stored: list[tuple[Document, int]] = []
        with self._within(connection) as within:
            for some in self._groups(documents):
                failpoint("submit.create")
                stored += within.create(list(some), self._now(), delay)
                failpoint("submit.created")
        joblog.submitted((document for document, _ in stored), is_uncommitted=True)
        return stored

    def read_within(self, connection: Any, uuid: str) -> tuple[Document | None, int | None]:
        """Return the head and token of a job as the transaction of ``connection`` has them; None for any other: now.

        Both are None if there is no job. Raises InvalidUuid, ConfigurationError, DatastoreError.
        """
        key = make_key(uuid)
        if connection is None:
            return self.datastore.read_with_cas(key, head=True)
        with self._within(connection) as within:
            return within.datastore.read_with_cas(key, head=True)

    def _store(self, documents: Sequence[Document], delay: float) -> list[tuple[Document, int]]:
        """Store new documents; after a lost answer read them back, and store them again if they aren't there."""
        unanswered: Exception | None = None
        for attempt in range(UNANSWERED):
            try:
                failpoint("submit.create")
                stored = self._create([dict(document) for document in documents], self._now(), delay)
                failpoint("submit.created")
                return stored
            except AmbiguousWrite as error:
                log.warning("the answer to the creation of %d jobs was lost; reading them back", len(documents))
                unanswered = error
                self._wait_for_answer(attempt)
            except self._refusals:
                if unanswered is None:
                    raise
            except DatastoreError as error:
                if unanswered is None:
                    raise
                raise self._may_exist(documents[0], error) from error
            found = [self._read_back(make_key(document["uuid"]), document) for document in documents]
            if all(found):
                return [one for one in found if one is not None]
        raise self._may_exist(documents[0], unanswered) from unanswered

    def _create(self, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        """Store new documents in one step, all or none; put them on their queues in the same step if possible."""
        [document] = documents
        apply(document, transitions.waiting(now, delay))
        return [(document, self.datastore.create(make_key(document["uuid"]), document))]

    def _put_unless_done(self, document: Document, token: int, delay: float) -> tuple[Document, int]:
        """Put a stored job on its queue unless ``_create`` has done so, or its answer was so late that it was done."""
        if document["epoch"] or document["status"] not in WAITING or document["queueState"] != PENDING:
            return document, token
        return self._deliver(make_key(document["uuid"]), document, token, delay, "submit")

    def _read_back(self, key: str, document: Document) -> tuple[Document, int] | None:
        """Return the stored document and its token if it is the one whose creation was not answered.

        Raises ``casException`` if it is another one, AmbiguousWrite if that is unknown.
        """
        try:
            stored, token = self.datastore.read_with_cas(key)
        except DatastoreError as error:
            raise self._may_exist(document, error) from error
        if stored is None or token is None:
            return None
        if any(stored.get(field) != document[field] for field in SAME):
            raise self.datastore.casException(f"{key} is there already, and another job; nothing was written")
        return stored, token

    def _may_exist(self, document: Document, error: object) -> AmbiguousWrite:
        return AmbiguousWrite(
            f"job {document['uuid']} may exist or not: {error}. Look it up before you submit it again."
        )

    def check_waits(self, uuid: str) -> None:
        """Raise the errors of ``enqueue``: JobNotFound, JobStateError."""
        head, _ = self.read(uuid)
        if head["status"] not in (NEW, *WAITING):
            raise _not_waiting(head)

    def enqueue(self, uuid: str, delay: float = 0, changes: Sequence[Operation] = ()) -> tuple[Document, int]:
        """Enqueue a stored ``new`` document, or put a waiting one on the queue once more.

        ``changes`` are made in the same write. Raises JobNotFound, and JobStateError for a job that runs or has ended.
        """
        key = make_key(uuid)
        attempts = self._attempts(key)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            if head["status"] not in (NEW, *WAITING):
                if attempts.unanswered:
                    return head, token  # enqueued already
                raise _not_waiting(head)
            operations = [*changes, *unlisted(head), *transitions.waiting(self._now(), delay)]
            with attempts:
                failpoint("enqueue.write")
                token = self.datastore.mutate(key, operations, cas=token).token
                failpoint("enqueue.written")
                break
        is_again = head["status"] != NEW
        apply(head, operations)
        joblog.submitted([head], is_again)
        return self._deliver(key, head, token, delay, "submit")


def _not_waiting(head: Document) -> JobStateError:
    state, instead = f"is {head['status']}", "return NO_RESULT from run() to run again"
    if head["status"] == PAUSED:
        instead = "resume() lets it go on"
    if head["status"] in TERMINAL:
        state, instead = f"has ended ({head['status']})", "retry() lets it run again"
    return JobStateError(f"job {head['uuid']} {state} and can't be enqueued; {instead}. Nothing was changed.")
