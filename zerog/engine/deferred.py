"""Claims of jobs whose loader runs only afterwards, in the thread that is to run them.

A worker that names the kinds of jobs it can load gets claims of those without a call of ``loader``, which may run
migrations and validation of the job's class: no transaction and no call waits for them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zerog.engine.engine import UNTAKEABLE, Engine, Loader, Unsuitable
from zerog.engine.transitions import Claim, WorkerIdentity, given_back
from zerog.exceptions import CorruptDocument
from zerog.records.job import Document, check_head

log = logging.getLogger("zerog")


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
        return claim.head

    def load_claim(self, claim: Claim, loader: Loader) -> bool:
        if claim.raw_head is None:
            return True
        try:
            head = self.read_raw_head(claim)
            check_head(claim.key, head)
            claim.head = head
            claim.job = self.inspect(head, loader)
        except (Unsuitable, CorruptDocument, *UNTAKEABLE) as error:
            if self.skipped.get(claim.uuid) != str(error):
                log.warning("job %s is left alone: its class can't load it here: %s", claim.uuid, error)
            self.skip(claim.uuid, str(error))
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
        """Return the claims that ``loader`` accepts; release the rest."""
        opened = [claim for claim in claims if self.load_claim(claim, loader)]
        if len(opened) < len(claims):
            names = {claim.nonce for claim in opened}
            self.settle([given_back(claim) for claim in claims if claim.nonce not in names])
        return opened
