"""The gate before each run: choose the claims that are kept for a slot; check one that waited before it begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from zerog.engine.engine import Engine, Loader
from zerog.engine.transitions import Claim, Settlement, given_back, is_claimed, is_to_pause
from zerog.exceptions import CorruptDocument, DatastoreError
from zerog.records.commands import Stop
from zerog.records.job import CANCELLED, CANCELLED_STATUS, RUNNING
from zerog.support.clock import Clock
from zerog.worker.pace import Pace

log = logging.getLogger("zerog")


class Gate:
    """Decides whether a claim's run begins."""

    def __init__(self, engine: Engine, loader: Loader, fresh: float, clock: Clock) -> None:
        """Make it. ``fresh``: seconds, from before the call that made a claim, for which its head is not read again."""
        self._engine = engine
        self._loader = loader
        self._fresh = fresh
        self._clock = clock

    def instead(self, claim: Claim, stop: Stop | None) -> Settlement | Literal[True] | None:
        """Return True if the run may begin; otherwise its settlement, or None if the job is not this worker's any more.

        ``stop``: why the run is to stop, if the worker was notified of that.
        """
        if not self._engine.load_claim(claim, self._loader):
            return given_back(claim)
        if stop is not None:
            return given_back(claim, 0) if stop is Stop.PAUSE else _cancelled(claim)
        if self._clock.monotonic() - claim.at <= self._fresh:
            return True
        try:
            head = self._engine.datastore.read_with_cas(claim.key, head=True)[0]
        except (DatastoreError, CorruptDocument) as error:
            log.warning("job %s is given back: it can't be looked at before its run: %s", claim.uuid, error)
            return given_back(claim, 0)
        if head is None or head.get("status") != RUNNING or not is_claimed(head, claim.nonce):
            log.warning("job %s is not this worker's any more; its run does not begin", claim.uuid)
            return None
        if is_to_pause(head):
            return given_back(claim, 0)
        return True if head.get("cancelRequested") is None else _cancelled(claim)

    def take_slots(self, claims: Sequence[Claim]) -> None:
        """Take the slots of limits for claims of one call together; nothing is done here if there are no limits."""
        if claims and (self._engine.knows_limits() or self._engine.live_limits):
            self._engine.load_limited(claims, self._loader)

    def divide(
        self, claims: list[Claim], free: int, pace: Pace, knows: Sequence[tuple[str, float]]
    ) -> tuple[list[Claim], list[Settlement]]:
        """Return the claims to keep, and the settlements of those for which no slot is free and which may take long.

        ``free``: slots without a claim. ``knows``: the types of job, with their versions, that the worker takes.
        """
        known = [job_type for job_type, _ in knows]
        closed = [given_back(claim) for claim in claims if claim.ending is not None]
        if closed:
            claims = [claim for claim in claims if claim.ending is None]
        if len(claims) <= free or (known and all(map(pace.may_wait, known))):
            return claims, closed
        kept, back = claims[:free], []
        for claim in claims[free:]:
            is_open = self._engine.load_claim(claim, self._loader)
            if is_open and pace.may_wait(claim.head["jobType"]):
                kept.append(claim)
                continue
            back.append(given_back(claim, 0) if is_open else given_back(claim))
            pace.gave_back([claim.head.get("jobType", "")])
        back.reverse()  # each is put ahead of all that wait, so the last one first
        return kept, [*closed, *back]


def _cancelled(claim: Claim) -> Settlement:
    return Settlement(claim, "finish", claim.seq + 1, CANCELLED, status=CANCELLED_STATUS)
