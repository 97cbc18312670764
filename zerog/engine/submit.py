"""Accept jobs: the document first, then the queue; after a lost answer the document is read back."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zerog.engine import joblog, transitions
from zerog.engine.base import EngineBase
from zerog.engine.cas import UNANSWERED
from zerog.exceptions import AmbiguousWrite, DatastoreError, JobStateError
from zerog.records.fields import NEW, PENDING
from zerog.records.job import TERMINAL, WAITING, Document, check_layout, make_key
from zerog.records.operations import Operation, apply
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

SAME = ("createdAt", "jobType", "queueName", "priority")
"""Fields that identify a document read back as the one whose creation was not answered."""


class SubmitVerbs(EngineBase):
    """The verbs for submitting jobs."""

    def submit(self, documents: Sequence[Document], delay: float = 0) -> list[tuple[Document, int]]:
        """Accept new documents; return each as stored, with its token.

        A document that was stored is accepted even if the queue can't be reached: it stays pending, ``queueJobId``
        is -1, and reconcile delivers it. Raises ``casException`` if a document of that uuid exists, AmbiguousWrite
        (naming the uuid that may exist) if that is unknown.
        """
        return [self._submit_one(document, delay) for document in documents]

    def _submit_one(self, document: Document, delay: float) -> tuple[Document, int]:
        key = make_key(document["uuid"])
        document = dict(document)
        apply(document, transitions.waiting(self._now(), delay))
        stored, token = self._create(key, document)
        joblog.submitted([stored])
        if stored["epoch"] or stored["status"] not in WAITING or stored["queueState"] != PENDING:
            return stored, token  # the answer was so late that the job is on its way already
        return self._deliver(key, stored, token, delay, "submit")

    def _create(self, key: str, document: Document) -> tuple[Document, int]:
        """Store a new document; after a lost answer read it back, and create it again if it isn't there."""
        unanswered: Exception | None = None
        for attempt in range(UNANSWERED):
            try:
                failpoint("submit.create")
                token = self.datastore.create(key, document)
                failpoint("submit.created")
                return document, token
            except AmbiguousWrite as error:
                log.warning("the answer to the creation of %s was lost; reading it back", key)
                unanswered = error
                self._wait_for_answer(attempt)
            except self._refusals:
                if unanswered is None:
                    raise
            except DatastoreError as error:
                if unanswered is None:
                    raise
                raise self._may_exist(document, error) from error
            stored = self._read_back(key, document)
            if stored is not None:
                return stored
        raise self._may_exist(document, unanswered) from unanswered

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
            operations = [*changes, *transitions.waiting(self._now(), delay)]
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
    if head["status"] in TERMINAL:
        state, instead = f"has ended ({head['status']})", "retry() lets it run again"
    return JobStateError(f"job {head['uuid']} {state} and can't be enqueued; {instead}. Nothing was changed.")
