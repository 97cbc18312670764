"""Slots of limits: how many jobs of a type, key or queue run at once, on any datastore with any queue.

One mechanism serves every engine. A job is claimed first, then its run takes a slot in the document of each limit, then
the run begins. So a slot's holder is a run whose claim is stored already, and it holds nothing any more as soon as the
job's document names another run or none: that is the whole rule by which slots return, whatever dies.

* A claimed job that gets no slot is *parked*: it waits without an entry on its queue. Its lane (priority and key) is
  listed in the limit before that is written.
* A program that gives a slot back keeps it for the next parked job, in the same write, and then wakes that: the lane of
  the highest priority whose turn it is, the oldest job there. While anything is parked, only woken jobs get slots.
* Limits are taken in one order: key, type, queue, rates. A job that is parked at one keeps its slots of those before,
  so that a lane holds no more jobs of a key than may run, and waking one moves no others.
* Each sweep reads the parked jobs, drops holders whose runs are over and what is kept for woken jobs that nothing has
  taken for ``WAKING`` seconds, lists lanes anew and wakes. It repairs every crash between two writes.

Where a datastore can't find jobs by their attributes, nothing is parked: a job without a slot is put back for a while.
``tests/engine/limit_model.py`` is a model of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from math import inf

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine import transitions
from zerog.engine.base import LEAVE_ALONE, EngineBase
from zerog.engine.transitions import Claim, Settlement, is_claimed
from zerog.exceptions import AmbiguousWrite
from zerog.records.fields import PARKED
from zerog.records.job import QUEUED, RUNNING, WAITING, Document, check_head, make_key
from zerog.records.limits import (
    LANE_ATTR,
    WAKING,
    Lane,
    Limit,
    Limits,
    Parked,
    Slots,
    is_of,
    lane_of,
    parked_in,
    parking,
    place_of,
    rank,
    unlisted,
    uuids_in,
)
from zerog.records.operations import apply
from zerog.support.clock import seconds_between
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

MOST_PLACES = 1_000
"""Parked jobs of a lane that are counted."""

Change = Callable[[Slots], object]

LATER = 1.0
"""Seconds for which a job without a slot is put back where it can't be parked."""


class SlotVerbs(EngineBase):
    """What the verbs do with the slots of limits."""

    @property
    def parks(self) -> bool:
        """True if jobs without a slot are parked; False if they are put back for a while."""
        return self.datastore.can_find and self.datastore.can_find_terms

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

    def take_slots(self, claim: Claim) -> None:
        """Take a slot of each limit for a claimed job; ``claim.ending`` if it is to be parked or put back.

        Raises the errors of the datastore; ``free_slots`` gives back what was taken until then.
        """
        limits = self._limits(claim.head)
        if not limits.each and "parked" not in claim.head:
            return
        lane = claim.head["priority"], lane_of(limits.lane or None)
        self._leave(claim, [limit.key for limit in limits.each])
        for number, limit in enumerate(limits.each):
            parked_in_lane = self._take_slot(limit, claim, lane)
            if parked_in_lane is None:
                continue
            if not self.parks:
                claim.ending = Settlement(claim, "release", claim.seq + 1, delay=LATER)
                return
            now = self._now()
            noted = parking(claim.head, limit, parked_in_lane, now)
            claim.ending = Settlement(claim, "park", claim.seq + 1, operations=noted)
            for earlier in limits.each[:number]:
                self._change_slots(earlier.key, partial(Slots.keep, uuid=claim.uuid, nonce=claim.nonce, now=now), set())
            self._leave_later(claim, [limit.key for limit in limits.each[number + 1 :]])
            return

    def _take_slot(self, limit: Limit, claim: Claim, lane: Lane) -> Lane | None:
        """Take a slot; otherwise return the lane in which the job is to be parked, which is listed then."""
        attempts = self._attempts(limit.key)
        while True:
            record, token = self.datastore.read_with_cas(limit.key)
            slots = Slots(record)
            is_other = (slots.most, slots.rate) != (limit.most, limit.rate)
            if not self.parks:
                self._drop_ended(limit.parts, slots)
            has_slot = slots.take(claim.uuid, claim.nonce, limit, self._now())
            listed = None if has_slot else slots.list_lane(lane) if self.parks else lane
            with attempts:
                failpoint("limit.take")
                self._write_slots(limit.key, slots, token)
                failpoint("limit.taken")
                break
        if has_slot and slots.lanes and (is_other or limit.rate is not None):
            self._pump(limit.key)
        return listed

    def _leave(self, claim: Claim, keys: list[str]) -> None:
        """Let all jobs go that are parked at a limit which this one was parked at, if it isn't a limit any more."""
        parked = parked_in(claim.head)
        if parked is not None and parked.key not in keys and is_of(parked.of, claim.head):

            def lift(slots: Slots) -> None:
                slots.most = slots.rate = None
                slots.kept.pop(claim.uuid, None)

            self._pump(parked.key, lift)

    def _leave_later(self, claim: Claim, keys: list[str]) -> None:
        """Give back what a later limit keeps for a job that is parked at one before: waits must not form a circle."""
        parked = parked_in(claim.head)
        if parked is not None and parked.key in keys:
            self._pump(parked.key, lambda slots: slots.kept.pop(claim.uuid, None))

    def settle_slots(self, settlement: Settlement) -> None:
        """Give back the slots of a run whose settlement was answered, or list the lane of its parked job again.

        Raises nothing: what fails is repaired by the next sweep.
        """
        if settlement.kind != "park":
            self.free_slots(settlement.claim.head, settlement.claim.nonce)
            return
        parked = parked_in(apply({}, settlement.operations))
        if parked is not None:
            self._try_to_pump(parked.key, lambda slots: slots.list_lane(parked.lane))

    def free_slots(self, head: Document, nonce: str | None) -> None:
        """Give back the slots of a run that is over, and let parked jobs have them. Raises nothing, as above."""
        for limit in self._limits(head).each:
            self._try_to_pump(limit.key, lambda slots: slots.give(nonce))

    def _try_to_pump(self, key: str, change: Change) -> None:
        try:
            self._pump(key, change)
        except Exception as error:  # a driver's, too: the worker continues
            log.warning("%s is left to the next sweep: %s", key, error)

    def wake_parked(self, parked: Iterable[Parked]) -> None:
        """Repair one limit at which all of these are parked, and wake as many jobs as there are free slots."""
        known = list(parked)

        def repair(slots: Slots) -> None:
            self._drop_ended(known[0].of, slots)
            if slots.most is None and slots.rate is None:
                slots.most, slots.rate = known[0].most, known[0].rate
            for each in known:
                slots.list_lane(each.lane)

        self._pump(known[0].key, repair)

    def _drop_ended(self, of: tuple[str, ...], slots: Slots) -> None:
        """Drop holders whose runs are over, and what is kept for jobs that have ended or were not taken in time."""
        keys = {uuid: make_key(uuid) for uuid in uuids_in(slots)}
        heads, unreadable = self.datastore.read_heads([*keys.values()])
        now = self._now()
        for nonce, uuid in [*slots.holders.items()]:
            head = heads.get(keys.get(uuid, ""))
            is_over = head is None or head.get("status") != RUNNING or not is_claimed(head, nonce)
            if is_over and keys.get(uuid) not in unreadable:
                slots.give(nonce)
        for uuid, at in [*slots.kept.items()]:
            head = heads.get(keys.get(uuid, ""))
            is_live = head is not None and head.get("status") in (*WAITING, RUNNING)
            if not is_live or (_seconds(max(at, _waits_since(head)), now) > WAKING and not _is_parked_later(head, of)):
                slots.kept.pop(uuid)

    def _pump(self, key: str, change: Change = lambda slots: None) -> None:
        """Change the slots of a limit, and give those that are free to parked jobs, one after the other."""
        passed_over: set[str] = set()
        while True:
            slots, empty, head, delay = self._change_slots(key, change, passed_over)
            but = {*passed_over, *slots.kept}
            again = [lane for lane in empty if self._first(key, lane, but) is not None]  # parked meanwhile
            if head is None and not again:
                return
            unwoken = None
            if head is not None and not self._wake(head, delay):
                unwoken = head["uuid"]
                passed_over.add(unwoken)
            change = _after(again, unwoken)

    def _change_slots(
        self, key: str, change: Change, passed_over: set[str]
    ) -> tuple[Slots, list[Lane], Document | None, float]:
        """Change the slots of a limit and keep a free one for a parked job, in one write; return the slots.

        Also the lanes that were taken off the list, since no job was parked there, that job's head, and the seconds
        until it may start.
        """
        attempts, empty, head, delay = self._attempts(key), list[Lane](), None, 0.0
        while True:
            record, token = self.datastore.read_with_cas(key)
            slots = Slots(record)
            if attempts.unanswered and head is not None and head["uuid"] in slots.kept:
                return slots, empty, head, delay  # by the unanswered write
            change(slots)
            empty = []
            head, delay = self._choose(key, slots, empty, passed_over) if self.parks else (None, 0.0)
            with attempts:
                failpoint("limit.change")
                self._write_slots(key, slots, token)
                failpoint("limit.changed")
                return slots, empty, head, delay

    def _write_slots(self, key: str, slots: Slots, token: int | None) -> None:
        if self.datastore.can_delete and slots.is_over(self._now()):
            if token is not None:
                self.datastore.delete(key, cas=token)
        elif slots.has_changed:
            self.datastore.set_with_cas(key, slots.to_document(), token or 0)

    def _choose(
        self, key: str, slots: Slots, empty: list[Lane], passed_over: set[str]
    ) -> tuple[Document | None, float]:
        """Keep a free slot for the next parked job; return its head, None if there is none of either, and its delay.

        Lanes in which no job is parked are taken off the list and added to ``empty``.
        """
        while slots.has_room and (lane := slots.next_lane()) is not None:
            head = self._first(key, lane, {*passed_over, *slots.kept})
            if head is not None:
                return head, slots.wake(head["uuid"], lane, self._now())
            slots.drop_lane(lane)
            empty.append(lane)
        return None, 0.0

    def _first(self, key: str, lane: Lane, but: set[str]) -> Document | None:
        """Return the head of the oldest job that is parked in a lane, but for some; None if there is none."""
        attrs, after = ((LANE_ATTR, place_of(key, lane)),), None
        while True:
            query = FindQuery(status=QUEUED, order=OLDEST, attrs=attrs, limit=len(but) + 1, after=after)
            page = self.datastore.find(query)
            for head in page.heads:
                if head["uuid"] not in but:
                    return head
            after = page.after
            if after is None:
                return None

    def _wake(self, found: Document, delay: float) -> bool:
        """Put a parked job on its queue for in ``delay`` seconds; False if it isn't parked there any more."""
        key = make_key(found["uuid"])
        try:
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is None or token is None:
                return False
            check_head(key, head)
            is_parked = head.get("queueState") == PARKED and parked_in(head) == parked_in(found)
            operations = unlisted(head)
            if is_parked:
                operations += transitions.waiting(self._now(), delay)
            failpoint("limit.wake")
            token = self.datastore.mutate(key, operations, cas=token).token
            failpoint("limit.woken")
        except (AmbiguousWrite, *LEAVE_ALONE, *self._refusals) as error:  # type: ignore[misc]
            log.debug("job %s is not woken now: %s", found["uuid"], error)
            return False
        if is_parked:
            apply(head, operations)
            self._count("woken")
            self._deliver(key, head, token, delay, "limit", front=delay == 0)
        return is_parked


def _after(again: list[Lane], unwoken: str | None) -> Change:
    """Return the change after a wake: lanes are listed again, and a slot isn't kept for a job that wasn't woken."""

    def change(slots: Slots) -> None:
        for lane in again:
            slots.list_lane(lane)
        if unwoken is not None:
            slots.kept.pop(unwoken, None)

    return change


def _waits_since(head: Document | None) -> str:
    """Return the time since which a woken job waits for a worker, or until which it has to wait."""
    return max(str((head or {}).get(field) or "") for field in ("notBefore", "updatedAt"))


def _is_parked_later(head: Document | None, of: tuple[str, ...]) -> bool:
    """Return True if a job is parked at a limit whose slots are taken after those of a limit of this."""
    parked = parked_in(head) if head is not None and head.get("queueState") == PARKED else None
    return parked is not None and rank(parked.of) > rank(of)


def _seconds(at: str, now: str) -> float:
    """Return the seconds since a stored timestamp; infinitely many if it isn't one."""
    try:
        return seconds_between(at, now)
    except ValueError:
        return inf
