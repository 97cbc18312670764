"""Free slots of limits for parked jobs: kept for them in the write that frees them, then the jobs are woken.

Part of what ``zerog.engine.limited`` describes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from zerog.contracts.find import OLDEST, FindQuery
from zerog.engine import transitions
from zerog.engine.base import LEAVE_ALONE, Chosen, EngineBase
from zerog.engine.transitions import is_claimed
from zerog.exceptions import AmbiguousWrite
from zerog.records.fields import PARKED
from zerog.records.job import QUEUED, RUNNING, WAITING, Document, check_head, make_key
from zerog.records.limits import LANE_ATTR, Lane, Limit, Parked, parked_in, place_of, rank
from zerog.records.operations import apply
from zerog.records.slots import WAKING, Slots, uuids_in
from zerog.support.clock import seconds_between
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

AT_ONCE = 100
"""Parked jobs that get slots in one write, at most."""

Change = Callable[[Slots], object]


class WakeVerbs(EngineBase):
    """What the verbs do for parked jobs."""

    @property
    def parks(self) -> bool:
        """True if jobs without a slot are parked; False if they are put back for a while."""
        return self.datastore.can_find and self.datastore.can_find_terms

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

    def slots_of(self, limit: Limit) -> Slots:
        """Return the slots of a limit as they are now, without those of runs that are over; nothing is written."""
        slots = Slots(self.datastore.read_with_cas(limit.key)[0])
        self._drop_ended(limit.parts, slots)
        return slots

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
        for uuid, at in [*slots.ahead.items()]:
            if _seconds(at, now) > WAKING:
                slots.ahead.pop(uuid)

    def _pump(self, key: str, change: Change = lambda slots: None) -> None:
        """Change the slots of a limit, give those that are free to parked jobs, and wake these."""
        passed_over: set[str] = set()
        while True:
            slots, empty, chosen = self._change_slots(key, change, passed_over)
            but = {*passed_over, *slots.waiting}
            again = [lane for lane in empty if self._first(key, lane, but) is not None]  # parked meanwhile
            unwoken = self._wake_all(chosen) if chosen else []
            passed_over.update(unwoken)
            if not again and not unwoken and len(chosen) < AT_ONCE:
                return
            change = _after(again, unwoken)

    def _change_slots(self, key: str, change: Change, passed_over: set[str]) -> tuple[Slots, list[Lane], list[Chosen]]:
        """Change the slots of a limit and keep those that are free for parked jobs, in one write; return the slots.

        Also the lanes that were taken off the list, since no job was parked there, and those jobs.
        """
        attempts, empty, chosen = self._attempts(key), list[Lane](), list[Chosen]()
        while True:
            record, token = self.datastore.read_with_cas(key)
            slots = Slots(record)
            if attempts.unanswered and chosen and all(head["uuid"] in slots.waiting for head, _ in chosen):
                return slots, empty, chosen  # by the unanswered write
            change(slots)
            empty = []
            chosen = self._choose(key, slots, empty, passed_over) if self.parks else []
            with attempts:
                failpoint("limit.change")
                self._write_slots(key, slots, token)
                failpoint("limit.changed")
                return slots, empty, chosen

    def _write_slots(self, key: str, slots: Slots, token: int | None) -> None:
        if self.datastore.can_delete and slots.is_over(self._now()):
            if token is not None:
                self.datastore.delete(key, cas=token)
        elif slots.has_changed:
            self.datastore.set_with_cas(key, slots.to_document(), token or 0)

    def _choose(self, key: str, slots: Slots, empty: list[Lane], passed_over: set[str]) -> list[Chosen]:
        """Keep free slots for the next parked jobs; return these.

        Lanes in which no job is parked are taken off the list and added to ``empty``.
        """
        chosen, parked = list[Chosen](), dict[Lane, Iterator[Document]]()
        slots.promote(self._now())
        but = {*passed_over, *slots.waiting}
        while len(chosen) < AT_ONCE and slots.wakeable > 0 and (lane := slots.next_lane()) is not None:
            if lane not in parked:
                some = 1 + min(slots.wakeable, AT_ONCE) // len(slots.lanes)
                parked[lane] = self._parked(key, lane, but, some)
            head = next(parked[lane], None)
            if head is not None:
                chosen.append((head, slots.wake(head["uuid"], lane, self._now())))
            else:
                slots.drop_lane(lane)
                empty.append(lane)
        return chosen

    def _first(self, key: str, lane: Lane, but: set[str]) -> Document | None:
        """Return the head of the oldest job that is parked in a lane, but for some; None if there is none."""
        return next(self._parked(key, lane, but, 1), None)

    def _parked(self, key: str, lane: Lane, but: set[str], some: int) -> Iterator[Document]:
        """Yield the heads of the jobs that are parked in a lane, but for some, oldest first; read ``some`` at once.

        Only of jobs that are parked the index has the lane, but for rare remains: it alone answers the query.
        """
        attrs, after, size = ((LANE_ATTR, place_of(key, lane)),), None, some
        while True:
            page = self.datastore.find(FindQuery(order=OLDEST, attrs=attrs, limit=size, after=after))
            yield from (head for head in page.heads if head["uuid"] not in but and head["status"] == QUEUED)
            after = page.after
            if after is None:
                return

    def _wake_all(self, chosen: Sequence[Chosen]) -> list[str]:
        """Wake parked jobs for which slots are kept; return the uuids of those that are not parked there any more."""
        backwards = reversed(chosen)  # each is put ahead of all that wait
        return [head["uuid"] for head, delay in backwards if not self._wake(head, delay)]

    def _wake(self, found: Document, delay: float) -> bool:
        """Put a parked job on its queue for in ``delay`` seconds; False if it isn't parked there any more."""
        key = make_key(found["uuid"])
        try:
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is None or token is None:
                return False
            check_head(key, head)
            is_parked, operations = transitions.woken(head, found, self._now(), delay)
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


def _after(again: list[Lane], unwoken: list[str]) -> Change:
    """Return the change after a wake: lanes are listed again, and no slots are kept for jobs that weren't woken."""

    def change(slots: Slots) -> None:
        for lane in again:
            slots.list_lane(lane)
        for uuid in unwoken:
            slots.forget(uuid)

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
