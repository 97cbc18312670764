"""The last decision before a run begins: whether its claim may be opened; those that may not are given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zerog.engine.locks import UniqueLocks
from zerog.engine.transitions import Claim, Settled, Settlement, given_back
from zerog.records.job import Document

Loader = Callable[[Document], Any]
"""Checks a head before its job is claimed; raises Unsuitable, or returns the value for the claim's ``job``."""


class OpenVerbs(UniqueLocks):
    """What is done between a claim and its run."""

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """End runs, each by one write under its numbers, so that the same settlements may be sent again."""
        raise NotImplementedError

    def load_claim(self, claim: Claim, loader: Loader) -> bool:
        """Read a claim that ``step`` left unread. False if its run must not begin: then ``given_back`` settles it.

        For any thread; call it before any other use of the claim.
        """
        return self.may_begin(claim)

    def load_limited(self, claims: Sequence[Claim], loader: Loader) -> None:
        """Read the claims that ``step`` left unread, and take their slots together; ``claim.ending`` if that failed.

        Jobs that have a rate are left for ``load_claim``: a start counts when the run begins.
        """
        self.confirm_all([claim for claim in self._bound(claims) if not self.has_rate(claim)])

    def open_all(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims whose runs may begin, and settle the others."""
        self.confirm_all(self._bound(claims))
        opened = [claim for claim in claims if not claim.is_bound or self.confirm(claim)]
        if len(opened) < len(claims):
            self.settle_given_back([claim for claim in claims if claim.ending is not None])
        return opened

    def _bound(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims of bound jobs."""
        for claim in claims:
            claim.is_bound = claim.is_bound or self._is_bound(claim.head)
        return [claim for claim in claims if claim.is_bound]

    def settle_given_back(self, claims: Sequence[Claim]) -> None:
        """Settle claims whose runs must not begin."""
        settlements = [given_back(claim) for claim in claims]
        answers = zip(settlements, self.settle(settlements), strict=True)
        self.settle_slots(
            [each for each, answer in answers if each.claim.is_bound and not isinstance(answer, Exception)]
        )
