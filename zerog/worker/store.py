"""The thread of a worker that settles and claims, one call at a time, and the one that waits for work to come.

While a call is under way, finished jobs gather; the next call settles them all and claims as many as there is
room for, in one transaction where the engine can. So a durable commit is shared without anybody waiting for company.
The thread that hears of work while the other one has nothing to do makes that call itself: waking the other one would
take longer.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from zerog import logs
from zerog.clock import Clock, to_text
from zerog.document import INTERNAL_ERROR
from zerog.exceptions import DatastoreError, InvalidValue, QueueError
from zerog.lifecycle import Accept, Engine
from zerog.transitions import Claim, Settlement, Worker, build_of, erred, error_record, stamp
from zerog.worker.outcome import Outcome
from zerog.worker.slots import Slots

log = logging.getLogger("zerog")

AHEAD_BELOW = 0.005
"""Seconds that recent jobs may have taken on average for the worker to claim ahead of its slots."""

AHEAD_SECONDS = 0.25
"""How much work, by that average, is claimed ahead at most."""

AHEAD_JOBS = 128
"""How many jobs are claimed ahead at most."""

SHORT = 0.0003
"""Seconds that recent jobs may typically have taken to count as short: one thread runs thousands of them a second."""

GATHER = 4
"""While jobs are short a call, which costs something by itself, waits until one in so many of those claimed ended."""

GATHER_SECONDS = 0.002
"""For how long an ended job waits for others, at most."""

POLL = 1.0
"""Seconds between two looks for work while nothing wakes the worker."""

LONGEST_PAUSE = 5.0
"""Seconds between two tries while the datastore can't be reached, at most."""

OUTAGES = (DatastoreError, QueueError, OSError)
"""What is raised while the datastore, the queue or the system can't do what was asked."""

UNSTORABLE = (InvalidValue, TypeError, ValueError, OverflowError, RecursionError)
"""What a value raises that can't be stored, however often it is tried."""


class Store:
    """Settles what ended, claims what slots can take, and no more than ``most`` jobs altogether.

    ``claim_from`` may change the ``queues`` at any time; without any, nothing is claimed.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        accept: Accept,
        queues: Sequence[str],
        slots: int,
        clock: Clock,
        may_claim: Callable[[], bool],
        most: int | None = None,
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._accept = accept
        self._queues = tuple(queues)
        self._slots = slots
        self._clock = clock
        self._may_claim = may_claim
        self._most = most
        self._changed = threading.Condition()
        self._ended: list[Settlement] = []
        self._freed = 0
        self._in_flight = 0
        self._look = True
        self._claiming = True
        self._finish = False
        self._stepping = False
        self._gathering = False
        self._pause = 0.0
        self._average = 1.0
        self._typical = 1.0  # about the median: what one run in many takes must not matter here
        self._listen = threading.Event()
        self._thread = threading.Thread(target=self._guarded, args=(self._loop,), name="zerog-store", daemon=True)
        self._listener = threading.Thread(
            target=self._guarded, args=(self._listen_loop,), name="zerog-listener", daemon=True
        )
        self.counts: Counter[str] = Counter()
        self.came_back_empty = False
        """Whether a look for work found less than there was room for, since somebody last reset this."""
        self.drained = threading.Event()
        """Set while no job is in flight and nothing was ready at the last look, or is to be claimed at all."""
        self.failure: BaseException | None = None
        self.answered = False
        """Whether datastore and queue have answered a look for work, or nothing is to be claimed."""
        self.turned = clock.monotonic()
        """When the thread last came round, which it does after each call of the engine and each wait."""

    def serve(self, slots: Slots) -> None:
        """Claim for ``slots``, once started."""
        self._runner = slots
        slots.opened = self.opened

    def start(self) -> None:
        """Start claiming."""
        self._thread.start()
        self._listener.start()

    def done(self, claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        """A slot has ended a run: settle it, unless the document is dealt with already."""
        settlement = None
        if outcome is not None:
            settlement = outcome.settlement(claim)
            settlement.seconds = seconds
            with suppress(Exception):  # what can't be stored says so when it is settled
                self._engine.prepare(settlement)
        with self._changed:
            self._average += (seconds - self._average) / 8
            self._typical *= 1.25 if seconds > self._typical else 0.8
            self.counts["ran"] += 1
            if settlement is None:
                self._freed += 1
            else:
                self._ended.append(settlement)
            self._tell()

    def opened(self, claim: Claim) -> bool:
        """Make a claim ready for a slot to begin with; False if this worker can't take its job after all."""
        try:
            is_ready = self._engine.open(claim, self._accept)
        except BaseException as error:  # not in a slot's thread, which would end without a word
            self._fail(error)
            return False
        if is_ready:
            logs.claimed([claim])
            return True
        with self._changed:
            self.counts["claimed"] -= 1
            self._freed += 1
            self._tell()
        return False

    def stop_claiming(self) -> None:
        """Claim nothing more; give back at once what no slot has begun."""
        with self._changed:
            self._claiming = False
            self._give_back(self._runner.take_unstarted())
        self._engine.wake(self._queues)

    def claim_from(self, queues: Sequence[str]) -> None:
        """From now on claim from these queues only. If one is left out, give back what no slot has begun."""
        with self._changed:
            before, self._queues = self._queues, tuple(queues)
            if has_left := not set(before) <= set(queues):
                self._give_back(self._runner.take_unstarted())
            self._look = True
            self._tell()
        if has_left:
            self._engine.wake(before)
            self._engine.unreserve()

    def give_back_unstarted(self) -> None:
        """Give back what no slot has begun, as soon as the datastore answers."""
        with self._changed:
            self._give_back(self._runner.take_unstarted())

    def in_flight(self) -> int:
        """Jobs that are claimed and not settled."""
        with self._changed:
            return self._in_flight

    def close(self, timeout: float) -> bool:
        """Settle what has ended and stop the thread; False if it didn't stop in time."""
        with self._changed:
            self._finish = True
            self._tell()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _give_back(self, claims: list[Claim]) -> None:
        # Each goes ahead of all that wait, so the last one first.
        mine = [claim for claim in claims if self.opened(claim)]
        self._ended += [Settlement(claim, "release", claim.seq + 1) for claim in reversed(mine)]
        self._tell()

    def _tell(self) -> None:
        """Wake the store thread if it could do something now: during a step it would only be in the way."""
        if not self._stepping and not (self._gathering and self._gathers()):
            self._changed.notify()

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Have the worker end, since it can't go on."""
        log.exception("the worker could not settle, claim or read a job")
        self.failure = error
        self.drained.set()

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._stepping:
                    self.turned = self._clock.monotonic()
                if not self._changed.wait_for(self._has_turn, POLL):
                    self._look = True
                elif self._gathers():
                    self._gather()
                if self._stepping:
                    continue
                if self._finish and not self._ended:
                    return
                self._stepping = True
            self._step()

    def _gathers(self) -> bool:
        """Whether what has ended is to wait for what is about to end."""
        ended = len(self._ended) + self._freed
        return self._typical < SHORT and GATHER * ended < self._in_flight and not self._finish

    def _gather(self) -> None:
        self._gathering = True
        self._changed.wait_for(lambda: self._stepping or not self._gathers(), GATHER_SECONDS)
        self._gathering = False

    def _has_turn(self) -> bool:
        return not self._stepping and self._has_work()

    def _step(self) -> None:
        """Settle what has ended and claim what there is room for, in the thread that has set ``_stepping``."""
        with self._changed:
            self.turned = self._clock.monotonic()
            settlements, self._ended = self._ended, []
            self._in_flight -= self._freed
            self._freed = 0
            want = self._room(len(settlements))
            queues = self._queues
        try:
            self._exchange(settlements, want, queues)
        finally:
            with self._changed:
                self._stepping = False
                self._changed.notify()

    def _exchange(self, settlements: list[Settlement], want: int, queues: Sequence[str]) -> None:
        try:
            results, claims = self._engine.step(settlements, want, self._worker, self._accept, queues, sealed=True)
        except OUTAGES as error:
            self._pause = self._again(settlements, error, self._pause)
            return
        except Exception:
            if not settlements:
                raise
            log.exception("a settlement was refused; settling one by one")
            self._pause = self._settle_one_by_one(settlements, self._pause)
            return
        if self._pause:
            log.warning("the datastore answers again")
            self._pause = 0.0
        self._account(settlements, results, claims, want, queues)

    def _settle_one_by_one(self, settlements: list[Settlement], pause: float) -> float:
        """Settle each for itself; what can't be settled now comes again with the others, after a pause."""
        left: list[Settlement] = []
        trouble: Exception | None = None
        for number, settlement in enumerate(settlements):
            try:
                is_owner = settle_alone(self._engine, settlement, self._clock)
            except OUTAGES as error:
                left += settlements[number:]
                trouble = error
                break
            except Exception as error:
                left.append(settlement)
                trouble = error
                continue
            self._account([settlement], [is_owner], [], 0, ())
        return 0.0 if trouble is None else self._again(left, trouble, pause)

    def _has_work(self) -> bool:
        return bool(self._ended or self._freed or self._finish) or (self._look and self._room(0) > 0)

    def _room(self, settling: int) -> int:
        if not self._claiming or not self._queues or not self._may_claim():
            return 0
        room = self._slots + self._ahead() - self._in_flight + settling
        if self._most is not None:
            room = min(room, self._most - self.counts["claimed"])
        return max(0, room)

    def _ahead(self) -> int:
        if self._average > AHEAD_BELOW:
            return 0
        return min(AHEAD_JOBS, int(AHEAD_SECONDS * self._slots / max(self._average, 1e-6)))

    def _again(self, settlements: list[Settlement], error: Exception, pause: float) -> float:
        """Have these settled later, and wait a moment; returns for how long to wait if it fails again."""
        if not pause:
            log.warning("waiting for the datastore or queue: %s", error)
        with self._changed:
            self._ended = settlements + self._ended
            if self._finish:
                self._ended = []
                log.error("%d runs ended without being settled; their lease decides", len(settlements))
                return pause
        # Jittered, so that all the workers that were cut off together don't come back together.
        self._clock.pause((pause or 0.05) * random.uniform(0.5, 1.0))
        return min(max(pause * 2, 0.05), LONGEST_PAUSE)

    def _account(
        self,
        settlements: list[Settlement],
        results: list[bool],
        claims: list[Claim],
        want: int,
        queues: Sequence[str],
    ) -> None:
        """Take over what a step has done that wanted so many jobs of these queues."""
        ends = [end_of(s) if is_owner else "lost" for s, is_owner in zip(settlements, results, strict=True)]
        logs.settled(settlements, ends)
        with self._changed:
            self._in_flight += len(claims) - len(settlements)
            self.counts["claimed"] += len(claims)
            self.counts.update(ends)
            self._look = bool(claims) and len(claims) >= want
            if want > 0 and len(claims) < want:
                self.came_back_empty = True
            if self._in_flight == 0 and not self._ended and (want > 0 or not self._queues) and not claims:
                self.drained.set()
            elif claims:
                self.drained.clear()
            self.answered = self.answered or want > 0 or not self._queues
            if not self._look and want > 0:
                self._listen.set()
            if self._claiming and self._may_claim() and set(queues) <= set(self._queues):
                self._runner.add(claims, are_short=self._typical < SHORT)
            else:
                self._give_back(claims)

    def _listen_loop(self) -> None:
        while not self._finish:
            if not self._listen.wait(POLL):
                continue
            self._listen.clear()
            queues = self._queues
            if not queues:
                continue
            try:
                self._engine.wait_ready(POLL, queues)
            except (DatastoreError, QueueError) as error:
                log.debug("could not wait for work: %s", error)
                self._clock.pause(POLL)
            self._take_up(queues)

    def _take_up(self, queues: Sequence[str]) -> None:
        """Have it looked whether there is work: here, unless the store thread is busy anyway."""
        with self._changed:
            self._look = True
            has_room = self._room(0) > 0 and set(queues) <= set(self._queues)
            if not has_room or self._stepping or self._finish:
                self._tell()
                is_here = False
            else:
                self._stepping = is_here = True
        if not has_room:
            self._engine.unreserve()  # what came along is for others
        if is_here:
            self._step()


def settle_alone(engine: Engine, settlement: Settlement, clock: Clock) -> bool:
    """Settle one run; if no datastore could take what it wants to write, the job fails for that reason."""
    claim = settlement.claim
    try:
        return engine.settle([settlement])[0]
    except UNSTORABLE as error:
        message = f"the end of the run could not be stored: {type(error).__name__}: {error}"
        at = stamp(claim.head, to_text(clock.now()))
        record = error_record(at, INTERNAL_ERROR, message, claim.head["attempts"], build_of(claim.head))
        settlement.kind, settlement.result_code, settlement.status = "finish", INTERNAL_ERROR, None
        settlement.operations = erred(record, engine.datastore.history_limit)
        settlement.prepared = None
        return engine.settle([settlement])[0]


def end_of(settlement: Settlement) -> str:
    """How a run ended, in one word: the status of its job, or requeued or released."""
    if settlement.status is not None:
        return settlement.status
    if settlement.kind != "finish":
        return {"requeue": "requeued", "release": "released"}[settlement.kind]
    return "succeeded" if 200 <= settlement.result_code < 300 else "failed"
