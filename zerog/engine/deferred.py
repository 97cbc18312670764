"""Claims by a step: of entries that are decided about here, and of jobs whose loader runs only afterwards.

A worker that names the kinds of jobs it can load gets claims of those without a call of ``loader``, which may run
migrations and validation of the job's class: no transaction and no call waits for them. The thread that is to run the
job calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zerog.engine import joblog
from zerog.engine.decision import Drop, Later, Stop, decide
from zerog.engine.engine import UNTAKEABLE, Engine, Loader, Unsuitable
from zerog.engine.transitions import Claim, WorkerIdentity, given_back
from zerog.exceptions import CorruptDocument
from zerog.records.job import Document, check_head, make_key


class Accepted(NamedTuple):
    """The head of a job that is to be claimed, and what ``loader`` returned for it."""

    head: Document
    job: Any


class Unclaimed(NamedTuple):
    """What becomes of an entry whose job is not claimed: by default it leaves its queue."""

    delay: float = 0.0
    """Seconds until it is ready again, if it stays."""
    queue: str | None = None
    """The queue that it is moved to."""


class DeferredClaims(Engine):
    """Base class of engines that claim in their ``step``, before ``loader`` has checked the jobs."""

    claims_ahead = True

    def _claim(
        self, want: int, worker: WorkerIdentity, loader: Loader, queues: Sequence[str], batch: str
    ) -> tuple[list[Claim], Exception | None]:
        step = self.step([], want, worker, loader, queues, batch=batch)
        return step.claims, step.trouble

    def read_raw_head(self, claim: Claim) -> Document:
        """Return the head of a claim that was made unread. Raises CorruptDocument."""
        raise NotImplementedError

    def _consider(
        self,
        uuid: str,
        read: Callable[[], tuple[Document | None, int]],
        worker: WorkerIdentity,
        loader: Loader,
        end: Callable[[str, Document, int], bool] | None = None,
    ) -> Accepted | Unclaimed:
        """Decide about an entry.

        ``read`` returns the head of its job, None if there is none, and its token. ``end`` ends a cancelled job, given
        its key, head and token, and returns whether it did; by default in a write of its own.
        """
        head: Document | None = None
        try:
            head, token = read()
            if head is not None:
                check_head(make_key(uuid), head)
            decision = decide(head, self._now())
            if isinstance(decision, Drop):
                self._count(decision.counter)
                return Unclaimed()
            if isinstance(decision, Later):
                self._count("released.early")
                return Unclaimed(decision.seconds)
            assert head is not None
            if isinstance(decision, Stop):
                if not (end or self._stop_waiting)(make_key(uuid), head, token):
                    return Unclaimed(1.0)
                joblog.stopped(head)
                return Unclaimed()
            return Accepted(head, self.inspect(head, loader))
        except CorruptDocument as error:  # the sweep handles it; an entry would return again and again
            self.set_aside(uuid, error, "dropped.unreadable")
            return Unclaimed()
        except (Unsuitable, *UNTAKEABLE) as error:
            return self._refused(uuid, head or {}, worker, error)

    def _refused(self, uuid: str, head: Document, worker: WorkerIdentity, error: Exception) -> Unclaimed:
        self.leave(uuid, error, isinstance(error, Unsuitable) and error.is_faulty)
        aside = self.aside_for(head, worker)
        return Unclaimed(queue=aside) if aside else Unclaimed(self.patience(head))

    def load_claim(self, claim: Claim, loader: Loader) -> bool:
        return self._load(claim, loader) and self.may_begin(claim)

    def _load(self, claim: Claim, loader: Loader) -> bool:
        """Read a claim's head and call ``loader``, if that is to be done; False if the job can't be loaded here."""
        if claim.raw_head is None:
            return True
        try:
            if not claim.head:  # otherwise the claim was made of a head that had passed this check
                head = self.read_raw_head(claim)
                check_head(claim.key, head)
                claim.head = head
            claim.job = self.inspect(claim.head, loader)
        except (Unsuitable, CorruptDocument, *UNTAKEABLE) as error:
            self.leave(claim.uuid, error, is_faulty=True)
            # Enough to requeue a job whose head is corrupt.
            claim.head = claim.head or {
                "uuid": claim.uuid,
                "queueName": self.queue.name,
                "queueKwargs": {},
                "priority": 0,
            }
            return False
        finally:
            claim.raw_head = None
        return True

    def load_claims(self, claims: Sequence[Claim], loader: Loader) -> list[Claim]:
        """Return the claims that ``loader`` accepts and whose runs may begin; release the rest."""
        loaded = [claim for claim in claims if self._load(claim, loader)]
        if len(loaded) < len(claims):
            names = {claim.nonce for claim in loaded}
            self.settle_given_back([claim for claim in claims if claim.nonce not in names])
        return self.open_all(loaded)

    def load_limited(self, claims: Sequence[Claim], loader: Loader) -> None:
        loaded = []
        for claim in claims:
            if self._load(claim, loader):
                loaded.append(claim)
            else:
                claim.is_bound, claim.is_confirmed, claim.ending = True, True, given_back(claim)
        super().load_limited(loaded, loader)
