"""A worker's thread that settles and claims, one call at a time, and its thread that waits for work.

While a call is under way, finished jobs gather; the next call settles them all and claims as many as there is
room for, in one transaction where the engine can, so that a durable commit is shared. If the fetcher's thread is idle
when work arrives, the waiting thread makes that call itself: waking the fetcher's thread would take longer.

Settling and claiming fail separately, and so does each settlement: one that was not stored is sent again after its own
pause (``zerog.worker.settling``), while the worker continues. The nonces of all runs that the worker holds are in its
record (``zerog.worker.runs``).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf

from zerog.engine import joblog
from zerog.engine.engine import Engine, Loader, new_nonce
from zerog.engine.transitions import Claim, Settled, Settlement, Step, WorkerIdentity, given_back
from zerog.records.slots import Sharing
from zerog.support.clock import Clock
from zerog.worker.executors.slots import Executor
from zerog.worker.gate import Gate
from zerog.worker.outcome import Outcome
from zerog.worker.pace import ClaimTimes, Pace
from zerog.worker.runs import Holdings, Tally
from zerog.worker.settling import Outage, Postponed, end_of, settled_at_last
from zerog.worker.waiting import POLL, Waiter

log = logging.getLogger("zerog")

GATHER_SECONDS = 0.002
"""Seconds that an ended job waits for more jobs to end, at most."""

FRESH = 1.0
"""Seconds for which a claim is begun without reading its document again; a third of the lease, if that is less."""

HOARDED = 0.5
"""Seconds without any slot taking a claim after which claims that wait for one are released."""


class Fetcher:
    """Settles ended runs and claims jobs for the slots, no more than ``most`` jobs altogether.

    ``claim_from`` may change the ``queues`` at any time; without any, nothing is claimed. ``worker`` may be replaced,
    too, by one that takes other types.
    """

    def __init__(
        self,
        engine: Engine,
        worker: WorkerIdentity,
        loader: Loader,
        queues: Sequence[str],
        slots: int,
        clock: Clock,
        may_claim: Callable[[], bool],
        most: int | None = None,
    ) -> None:
        self.holdings = Holdings()
        """The runs that this worker holds."""
        self._engine = engine
        self.worker = replace(worker, holds=self.holdings.has)
        self._loader = loader
        self._queues = tuple(queues)
        self._slots = slots
        self._clock = clock
        self._may_claim = may_claim
        self._most = most
        self._gate = Gate(engine, loader, min(FRESH, worker.lease / 3), clock)
        self._pace = Pace(slots, engine.claims_ahead)
        self._sharing = Sharing(self.holdings.has, self._pace.behind)
        self._changed = threading.Condition()
        self._ended: list[Settlement] = []
        self._postponed = Postponed()
        self._runs_over: deque[tuple[Claim, Settlement | None, float]] = deque()
        self._in_flight = self._occupied = 0
        self._taken_at = 0.0
        self._look = True
        self._claiming = True
        self._finish = False
        self._stepping = False
        self._gathering = False
        self._settle_outage, self._claim_outage = Outage("settle"), Outage("claim")
        self._claims = ClaimTimes()
        self._refused = self._woken = 0
        self._thread = threading.Thread(target=self._guarded, args=(self._loop,), name="zerog-fetcher", daemon=True)
        self._waiter = Waiter(engine, clock, lambda: self._queues, self._take_up, self._guarded)
        self.tally = Tally(engine.datastore)
        """The worker's figures of its runs."""
        self.counts: Counter[str] = Counter()
        self.drained = threading.Event()
        """Set while no job is in flight, and nothing was ready at the last poll or nothing is to be claimed at all."""
        self.failure: BaseException | None = None
        self.answered = False
        """True once datastore and queue have answered a poll for work, or if nothing is to be claimed."""
        self.turned = clock.monotonic()
        """Time of the thread's last turn; it makes one after each call of the engine and each wait."""

    def serve(self, slots: Executor) -> None:
        """Claim for ``slots``, once started."""
        self._runner = slots
        slots.opened = self.opened

    def start(self) -> None:
        """Start claiming."""
        self._thread.start()
        self._waiter.start()

    def done(self, claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        """Settle a run that a slot has ended, unless the document is dealt with already."""
        settlement = None
        if outcome is not None:
            settlement = outcome.settlement(claim)
            settlement.seconds = seconds
            with suppress(Exception):  # a value that can't be stored is reported when the run is settled
                self._engine.prepare(settlement)
        self._runs_over.append((claim, settlement, seconds))
        # A step or a gathering under way collects it at its end; notifying would only make slots wait for the lock.
        if not self._stepping and not (self._gathering and self._gathers()):
            with self._changed:
                self._notify()

    def _collect(self) -> None:
        """Account for the runs that slots have ended."""
        now = self._clock.monotonic()
        while self._runs_over:
            claim, settlement, seconds = self._runs_over.popleft()
            self._pace.ended(claim.head["jobType"], seconds, now)
            self.counts["ran"] += 1
            self._vacate(claim, settlement)

    def _vacate(self, claim: Claim, settlement: Settlement | None) -> None:
        """Free the place of a claim that is to be settled next, or is dealt with already."""
        self._occupied -= 1
        if settlement is None:
            self._in_flight -= 1
            self.holdings.drop([claim.nonce])
            self._look = True
        else:
            self._ended.append(settlement)

    def opened(self, claim: Claim) -> bool:
        """Make a claim ready for a slot; False if its run is not to begin: then the claim is dealt with here.

        The document of a claim that has waited is read again: its job may have been cancelled, or have another owner.
        """
        self._taken_at = self._clock.monotonic()
        try:
            instead = self._gate.instead(claim, self._runner.stop_of(claim))
        except BaseException as error:  # raised in a slot's thread it would end that silently
            self._fail(error)
            return False
        if instead is True:
            joblog.claimed([claim])
            return True
        with self._changed:
            self.counts["claimed"] -= 1
            self._vacate(claim, instead)
            self._notify()
        return False

    def stop_claiming(self) -> None:
        """Claim nothing more; release at once what no slot has begun."""
        with self._changed:
            self._claiming = False
            self._give_back(self._runner.take_unstarted())
        self._engine.wake(self._queues)

    def claim_from(self, queues: Sequence[str]) -> None:
        """Claim from these queues only, from now on. If one is left out, release what no slot has begun."""
        with self._changed:
            before, self._queues = self._queues, tuple(queues)
            if has_left := not set(before) <= set(queues):
                self._give_back(self._runner.take_unstarted())
            self._look = True
            self._notify()
        if has_left:
            self._engine.wake(before)
            self._engine.unreserve()

    def give_back_unstarted(self) -> None:
        """Release what no slot has begun, as soon as the datastore answers."""
        with self._changed:
            self._give_back(self._runner.take_unstarted())

    def in_flight(self) -> int:
        """Return the number of jobs that are claimed and not settled."""
        return self._in_flight

    def close(self, timeout: float) -> bool:
        """Settle what has ended and stop the thread; False if it didn't stop in time."""
        with self._changed:
            self._finish = True
            self._notify()
        with suppress(Exception):  # a queue that can't be woken ends its wait after POLL seconds
            self._waiter.stop()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _give_back(self, claims: list[Claim]) -> None:
        """Release claims that no slot has begun."""
        for claim in reversed(claims):  # each is put ahead of all that wait, so the last one first
            self._ended.append(
                given_back(claim, 0) if self._engine.load_claim(claim, self._loader) else given_back(claim)
            )
        self._occupied -= len(claims)
        self._notify()

    def _notify(self) -> None:
        """Wake the fetcher's thread if it could do something now: during a step it would only compete for the lock."""
        if not self._stepping and not (self._gathering and self._gathers()):
            self._changed.notify()

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the worker, since it can't continue."""
        log.exception("the worker could not settle, claim or read a job")
        self.failure = error
        self.drained.set()

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._stepping:
                    self.turned = self._clock.monotonic()
                if not self._changed.wait_for(self._has_turn, self._seconds_to_wait()):
                    self._look = True
                elif self._gathers():
                    self._gather()
                self._give_back_hoarded()
                if self._stepping:
                    continue
                if self._finish and not self._ended and not self._postponed:
                    return
                self._stepping = True
            self._step()

    def _seconds_to_wait(self) -> float:
        now = self._clock.monotonic()
        times = [POLL, self._postponed.next_at - now]
        if self._claims.next_at > now:
            times.append(self._claims.next_at - now)
        if self._runner.unstarted():
            times.append(HOARDED / 2)
        return max(0.0, min(times))

    def _give_back_hoarded(self) -> None:
        """Release what was claimed ahead, if no slot takes it, or if it waits for a run: another worker may be idle."""
        late = self._clock.monotonic() - HOARDED
        if claims := self._runner.take_unstarted(inf if self._taken_at < late else late):
            self._give_back(claims)
            self._pace.gave_back({claim.head["jobType"] for claim in claims if "jobType" in claim.head})

    def _gathers(self) -> bool:
        """Return True if ended jobs are to wait for those that are about to end."""
        return not self._finish and self._pace.gathers(len(self._ended) + len(self._runs_over), self._in_flight)

    def _gather(self) -> None:
        self._gathering = True
        self._changed.wait_for(lambda: self._stepping or not self._gathers(), GATHER_SECONDS)
        self._gathering = False

    def _has_turn(self) -> bool:
        if self._stepping:
            return False
        self._collect()
        if self._ended or self._finish or self._postponed.next_at <= self._clock.monotonic():
            return True
        return self._look and self._room() > 0

    def _step(self) -> None:
        """Settle the ended runs and claim jobs as there is room, in the thread that has set ``_stepping``."""
        batch = new_nonce()
        with self._changed:
            self._collect()
            now = self.turned = self._clock.monotonic()
            settlements, self._ended = self._postponed.take(inf if self._finish else now) + self._ended, []
            want = self._room()
            if want > 0:
                self.holdings.calling(batch)
            queues = self._queues
        try:
            self._exchange(settlements, want, queues, batch)
        finally:
            with self._changed:
                self._stepping = False
                self.holdings.called()
                self._changed.notify()

    def _exchange(self, settlements: list[Settlement], want: int, queues: Sequence[str], batch: str) -> None:
        began = self._clock.monotonic()
        refused, woken = (self._engine.counters[name] for name in ("released.unsuitable", "woken"))
        try:
            step = self._engine.step(settlements, want, self.worker, self._loader, queues, deferred=True, batch=batch)
        except Exception as error:
            step = Step([error] * len(settlements), [], error)
        settled = settled_at_last(self._engine, settlements, step.settled, self._clock)
        for claim in step.claims:
            claim.at, claim.sharing = began, self._sharing
        self._gate.take_slots(step.claims)
        self._woken = self._engine.counters["woken"] - woken
        self._pace.limited(any(claim.ending is not None for claim in step.claims), self._woken)
        self._account(settlements, settled)
        self._refused = 0 if step.claims else self._engine.counters["released.unsuitable"] - refused
        self._take_over(step, want, queues)

    def _room(self) -> int:
        if not self._claiming or not self._queues or not self._may_claim():
            return 0
        now = self._clock.monotonic()
        if now < self._claims.next_at:
            return 0
        room = self._slots + self._pace.ahead(now) - self._occupied
        if self._most is not None:
            room = min(room, self._most - self.counts["claimed"])
        return max(0, room)

    def _account(self, settlements: list[Settlement], settled: list[Settled]) -> None:
        """Record the results of settlements: count and log those that were answered, postpone the rest."""
        answered: list[Settlement] = []
        ends: list[str] = []
        trouble: Exception | None = None
        with self._changed:
            for settlement, answer in zip(settlements, settled, strict=True):
                if isinstance(answer, Exception) and not self._finish:
                    trouble = answer
                    self._postponed.add(settlement, self._clock.monotonic())
                    continue
                if isinstance(answer, Exception):
                    log.error("job %s can't be settled, its lease decides: %s", settlement.claim.uuid, answer)
                answered.append(settlement)
                ends.append(end_of(settlement) if answer is True else "lost")
            self.holdings.drop(settlement.claim.nonce for settlement in answered)
            self._in_flight -= len(answered)
            self.counts.update(ends)
            is_over = bool(answered) and not self._postponed
        self.tally.settled(answered, ends)
        joblog.settled(answered, ends)
        self._settle_outage.note(trouble, is_over)

    def _take_over(self, step: Step, want: int, queues: Sequence[str]) -> None:
        """Hand the claims of a step, which wanted ``want`` jobs of these queues, to the slots, or release them."""
        claims = step.claims
        if want > 0:
            self._claim_outage.note(step.trouble, step.trouble is None)
        with self._changed:
            self.holdings.called(claim.nonce for claim in claims)
            self._in_flight += len(claims)
            self.counts["claimed"] += len(claims)
            if want > 0:
                self._look = len(claims) >= want or self._woken > 0
                self.answered = self.answered or step.trouble is None
                self._claims.note(self._clock.monotonic(), step.trouble is not None, self._refused)
            is_idle = self._in_flight == 0 and not self._woken
            if is_idle and (want > 0 or not self._queues) and step.trouble is None:
                self.drained.set()
            elif claims:
                self.drained.clear()
            self.answered = self.answered or not self._queues
            if not self._look and want > 0:
                self._waiter.ask()
            if not (self._claiming and self._may_claim() and set(queues) <= set(self._queues)):
                self._occupied += len(claims)
                self._give_back(claims)
                return
            kept, back = self._gate.divide(claims, max(0, self._slots - self._occupied), self._pace, self.worker.knows)
            if kept and not self._runner.unstarted():
                self._taken_at = self._clock.monotonic()
            self._occupied += len(kept)
            self._runner.add(kept, are_short=self._pace.is_short)
            self._ended += back
            self._notify()

    def _take_up(self, queues: Sequence[str]) -> None:
        """Poll for work from this thread unless the fetcher's thread is polling already."""
        with self._changed:
            self._look = True
            self._collect()
            has_room = self._room() > 0 and set(queues) <= set(self._queues)
            if not has_room or self._stepping or self._finish:
                self._notify()
                is_here = False
            else:
                self._stepping = is_here = True
        if not has_room:
            self._engine.unreserve()  # what the wait has reserved is for other workers
        if is_here:
            self._step()
