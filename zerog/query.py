"""Search many jobs: read heads page by page, and apply the filters that datastores don't have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.exceptions import InvalidValue, JobNotFound
from zerog.jobs.progress import progress_of
from zerog.records.job import STATUSES, Document, check_shown, make_key
from zerog.support.clock import Clock

PAGE = 500
"""Heads read at a time, and so in memory."""


@dataclass(frozen=True)
class Query:
    """Filters for jobs. Raises InvalidValue for an unknown status and for what is no text, code or limit."""

    status: str | None = None
    job_type: str | None = None
    queue: str | None = None
    error: str | None = None
    """The type of the last error, with or without its module, or a part of its message, in small or capital letters."""
    code: int | None = None
    """The result code, or the code of the last error."""
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in STATUSES:
            raise InvalidValue(f"no job ever has the status {self.status!r}; expected one of {', '.join(STATUSES)}")
        if self.limit is not None and (type(self.limit) is not int or self.limit < 0):
            raise InvalidValue(f"limit={self.limit!r}; expected a whole number, 0 or more, or None for all")
        if self.error is not None and (not isinstance(self.error, str) or not self.error):
            raise InvalidValue(
                f"error={self.error!r:.80}; expected the type of an exception or a part of a message, or None for any"
            )
        if self.code is not None and type(self.code) is not int:
            raise InvalidValue(f"code={self.code!r:.80}; expected a whole number, or None for any")

    def jobs(self, datastore: Datastore, clock: Clock) -> Iterator[dict[str, Any]]:
        """Yield the progress of the matching jobs, oldest first. Raises DatastoreError if the datastore can't list."""
        left, after = self.limit, None
        is_picky = self.error is not None or self.code is not None
        while left is None or left > 0:
            size = PAGE if left is None or is_picky else min(PAGE, left)
            query = FindQuery(self.status, job_type=self.job_type, queue=self.queue, after=after, limit=size)
            page = datastore.find(query)
            for head in page.heads:
                if not is_picky or self._fits(head):
                    yield progress_of(head, clock.now())
                    left = None if left is None else left - 1
                    if left == 0:
                        return
            after = page.after
            if after is None:
                return

    def _fits(self, head: Document) -> bool:
        stored = head.get("lastError")
        last: Document = stored if isinstance(stored, dict) else {}
        if self.code is not None and self.code not in (head.get("resultCode"), last.get("errorCode")):
            return False
        if self.error is None:
            return True
        kind = str(last.get("type") or "")
        return self.error in (kind, kind.rpartition(".")[2]) or self.error.lower() in str(last.get("msg") or "").lower()


def readable(datastore: Datastore, uuid: str, head: bool = False) -> Document:
    """Return a job's document, or its head, for showing, even if the engine can't work with it.

    Raises InvalidUuid, JobNotFound, CorruptDocument.
    """
    key = make_key(uuid)
    document = datastore.read_with_cas(key, head)[0]
    if document is None:
        raise JobNotFound(f"there is no job {uuid}")
    check_shown(key, document)
    return document
