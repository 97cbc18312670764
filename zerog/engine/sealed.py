"""Claims of jobs whose code is asked only afterwards, in the thread that is to run them.

A worker that names the kinds of jobs that it knows gets claims of those without ``accept`` being called, which may run
migrations and validation of the job's class: no transaction and no call waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from zerog.engine.engine import UNTAKEABLE, Accept, Engine, Unsuitable
from zerog.engine.transitions import Claim, given_back
from zerog.exceptions import CorruptDocument
from zerog.records.job import Document, check_head


class SealedClaims(Engine):
    """What engines share that claim jobs before ``accept`` has seen them."""

    def unsealed(self, claim: Claim) -> Document:
        """Return the head of a claim that was made unseen. Raises CorruptDocument."""
        return claim.head

    def open(self, claim: Claim, accept: Accept) -> bool:
        if claim.sealed is None:
            return True
        try:
            head = self.unsealed(claim)
            check_head(claim.key, head)
            claim.head = head
            claim.loaded = self.look(head, accept)
        except (Unsuitable, CorruptDocument, *UNTAKEABLE) as error:
            self.refuse(claim.uuid, str(error))
            # All that putting it on a queue takes, if its head makes no sense.
            claim.head = claim.head or {
                "uuid": claim.uuid,
                "queueName": self.queue.name,
                "queueKwargs": {},
                "priority": 0,
            }
            return False
        finally:
            claim.sealed = None
        return True

    def opened(self, claims: Sequence[Claim], accept: Accept) -> list[Claim]:
        """Return the claims that ``accept`` takes; the others are given back."""
        opened = [claim for claim in claims if self.open(claim, accept)]
        if len(opened) < len(claims):
            names = {claim.nonce for claim in opened}
            self.settle([given_back(claim) for claim in claims if claim.nonce not in names])
        return opened
