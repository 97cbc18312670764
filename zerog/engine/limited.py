"""Slots of limits: how many jobs of a type, key or queue run at once, on any datastore with any queue.

One mechanism serves every engine. A job is claimed first, then its run takes a slot in the document of each limit, then
the run begins. So a slot's holder is a run whose claim is stored already, and it holds nothing any more as soon as the
job's document names another run or none: that is the whole rule by which slots return, whatever dies.

* What one call has claimed takes its slots together, and what it has settled gives them back together: one write for
  each limit, however many jobs.
* Jobs that take next to no time share slots: a claim joins the slot of another run of its worker, which runs those of
  one slot one after the other. Each of these runs is listed as a holder, and the slot is free with the last one.
* A claimed job that gets no slot is *parked*: it waits without an entry on its queue. Its lane (priority and key) is
  listed in the limit before that is written.
* A program that gives slots back keeps them for the next parked jobs, in the same write, and then wakes those: of the
  lane of the highest priority whose turn it is, the oldest job. While anything is parked, only woken jobs get slots.
* Limits are taken in one order: key, type, queue, rates. A job that is parked at one keeps its slots of those before,
  so that a lane holds no more jobs of a key than may run, and waking one moves no others.
* Each sweep reads the parked jobs, drops holders whose runs are over and what is kept for woken jobs that nothing has
  taken for ``WAKING`` seconds, lists lanes anew and wakes. It repairs every crash between two writes.

Where a datastore can't find jobs by their attributes, nothing is parked: a job without a slot is put back for a while.
``tests/engine/limit_model.py`` is a model of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine import transitions
from zerog.engine.transitions import Claim, Settlement
from zerog.engine.waking import AT_ONCE, Change, WakeVerbs
from zerog.records.fields import PARKED
from zerog.records.job import QUEUED, Document
from zerog.records.limits import LANE_ATTR, Lane, Limit, Limits, is_of, lane_of, parked_in, parking, rank
from zerog.records.operations import apply
from zerog.records.slots import Slots
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

MOST_PLACES = 1_000
"""Parked jobs of a lane that are counted."""

LATER = 1.0
"""Seconds for which a job without a slot is put back where it can't be parked."""


class _Ask(NamedTuple):
    """A claim that asks for slots."""

    claim: Claim
    limits: tuple[Limit, ...]
    lane: Lane


class SlotVerbs(WakeVerbs):
    """What the verbs do with the slots of limits."""

    def place_of(self, head: Document) -> int | None:
        """Return the place of a parked job in its lane, 1 to MOST_PLACES; None for others. Raises DatastoreError."""
        parked = parked_in(head)
        if parked is None or head.get("queueState") != PARKED or not self.parks:
            return None
        attrs = ((LANE_ATTR, parked.place),)
        query = FindQuery(status=QUEUED, order=OLDEST, attrs=attrs, until=head["createdAt"])
        return max(1, self.datastore.count(query, MOST_PLACES).number)

    def _limits(self, head: Document) -> Limits:
        """Return the limits of a job: those of its class and key, then those that an operator has set of its queue."""
        limits, name = self.limits_of(head), str(head.get("queueName"))
        own = self.live_limits.of_queue(name)
        if own is None:
            return limits
        each = list(limits.each)
        if own.max_running is not None:
            slots = [limit for limit in each if limit.rate is None]
            each.insert(len(slots), Limit(("queue", name), own.max_running))
        if own.rate is not None:
            each.append(Limit(("queue", name, "rate"), rate=own.rate))
        return limits._replace(each=tuple(each))

    def has_rate(self, claim: Claim) -> bool:
        """Return True if a claimed job waits for a start of a rate."""
        return any(limit.rate is not None for limit in self._limits(claim.head).each)

    def take_slots(self, claims: Sequence[Claim]) -> None:
        """Take a slot of each limit for claimed jobs, those of one limit in one write.

        ``claim.ending`` of one that is to be parked or put back, or whose slots can't be written: those that it has
        taken by then return when that is settled.
        """
        asked: dict[Limit, list[_Ask]] = {}
        for claim in claims:
            claim.is_confirmed = True
            limits = self._limits(claim.head)
            if limits.each or "parked" in claim.head:
                ask = _Ask(claim, limits.each, (claim.head["priority"], lane_of(limits.lane or None)))
                self._or_give_back([ask], partial(self._leave, claim, [limit.key for limit in limits.each]))
                for limit in limits.each:
                    asked.setdefault(limit, []).append(ask)
        for limit in sorted(asked, key=lambda limit: rank(limit.parts)):
            asks = [ask for ask in asked[limit] if ask.claim.ending is None]
            if asks:
                self._or_give_back(asks, partial(self._take_of, limit, asks))

    def _or_give_back(self, asks: Sequence[_Ask], take: Callable[[], object]) -> None:
        """Take slots; if they can't be written, let the claims be given back."""
        try:
            take()
        except Exception as error:  # a driver's, too: the claims must be given back
            for claim in (ask.claim for ask in asks if ask.claim.ending is None):
                log.warning("job %s is given back: its slots can't be written: %s", claim.uuid, error)
                claim.ending = transitions.given_back(claim)

    def _take_of(self, limit: Limit, asks: Sequence[_Ask]) -> None:
        """Take slots of one limit; the jobs that get none are to be parked in their lanes, which are listed then."""
        attempts = self._attempts(limit.key)
        while True:
            record, token = self.datastore.read_with_cas(limit.key)
            slots, now = Slots(record), self._now()
            is_other = (slots.most, slots.rate) != (limit.most, limit.rate)
            if not self.parks:
                self._drop_ended(limit.parts, slots)
            without: list[tuple[_Ask, Lane]] = []
            mine = slots.shared_by(asks[0].claim.sharing)
            for ask in asks:
                behind = _behind(ask)
                if not slots.take(ask.claim.uuid, ask.claim.nonce, limit, now, behind, mine if behind else None):
                    without.append((ask, slots.list_lane(ask.lane) if self.parks else ask.lane))
            with attempts:
                failpoint("limit.take")
                self._write_slots(limit.key, slots, token)
                failpoint("limit.taken")
                break
        for ask in asks:
            ask.claim.slot = slots.shared.get(ask.claim.nonce, "")
        if len(without) < len(asks) and slots.lanes and (is_other or limit.rate is not None):
            self._pump(limit.key)
        if without:
            self._park(limit, without)

    def _park(self, limit: Limit, without: Sequence[tuple[_Ask, Lane]]) -> None:
        """Let jobs be parked that got no slot; their slots of limits before are kept for them."""
        now, kept = self._now(), dict[str, list[Claim]]()
        for (claim, limits, _), lane in without:
            if not self.parks:
                claim.ending = Settlement(claim, "release", claim.seq + 1, delay=LATER)
                continue
            noted = parking(claim.head, limit, lane, now)
            claim.ending = Settlement(claim, "park", claim.seq + 1, operations=noted)
            number = limits.index(limit)
            for earlier in limits[:number]:
                kept.setdefault(earlier.key, []).append(claim)
            self._leave_later(claim, [later.key for later in limits[number + 1 :]])
        for key, claims in kept.items():

            def keep(slots: Slots, claims: Sequence[Claim] = claims) -> None:
                for claim in claims:
                    slots.keep(claim.uuid, claim.nonce, now)

            self._pump(key, keep)

    def _leave(self, claim: Claim, keys: list[str]) -> None:
        """Let all jobs go that are parked at a limit which this one was parked at, if it isn't a limit any more."""
        parked = parked_in(claim.head)
        if parked is not None and parked.key not in keys and is_of(parked.of, claim.head):

            def lift(slots: Slots) -> None:
                slots.most = slots.rate = None
                slots.forget(claim.uuid)

            self._pump(parked.key, lift)

    def _leave_later(self, claim: Claim, keys: list[str]) -> None:
        """Give back what a later limit keeps for a job that is parked at one before: waits must not form a circle."""
        parked = parked_in(claim.head)
        if parked is not None and parked.key in keys:
            self._pump(parked.key, lambda slots: slots.kept.pop(claim.uuid, None))

    def settle_slots(self, settlements: Sequence[Settlement]) -> None:
        """Give back the slots of runs whose settlements were answered, and list the lanes of parked jobs again.

        One write for each limit. Raises nothing: what fails is repaired by the next sweep.
        """
        changes: dict[str, list[Change]] = {}
        for settlement in settlements:
            claim = settlement.claim
            if settlement.kind != "park":
                for limit in self._limits(claim.head).each:
                    changes.setdefault(limit.key, []).append(partial(_give, settlement))
            elif (parked := parked_in(apply({}, settlement.operations))) is not None:
                changes.setdefault(parked.key, []).append(partial(Slots.list_lane, lane=parked.lane))
        for key, each in changes.items():
            self._try_to_pump(key, partial(_do_all, each))

    def free_slots(self, head: Document, nonce: str | None) -> None:
        """Give back the slots of a run that is over, and let parked jobs have them. Raises nothing, as above."""
        for limit in self._limits(head).each:
            self._try_to_pump(limit.key, lambda slots: slots.give(nonce))


def _behind(ask: _Ask) -> int:
    """Return how many jobs may share the slot of a claim: none of one that has several limits, or a rate."""
    sharing = ask.claim.sharing
    is_single = len(ask.limits) == 1 and ask.limits[0].rate is None
    return sharing.behind(str(ask.claim.head.get("jobType"))) if sharing is not None and is_single else 0


def _give(settlement: Settlement, slots: Slots) -> None:
    """Give back the slot of a run, and let parked jobs be woken that may share it."""
    claim = settlement.claim
    slots.give(claim.nonce)
    if claim.slot and claim.sharing is not None:
        slots.wake_more(min(2 * AT_ONCE, claim.sharing.behind(str(claim.head.get("jobType")))))


def _do_all(changes: Sequence[Change], slots: Slots) -> None:
    for change in changes:
        change(slots)
