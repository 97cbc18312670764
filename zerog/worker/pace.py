"""Pace of a worker, from the durations of its recent runs: how far ahead it claims, how long ended jobs gather.

Nothing here reads a clock, calls an engine or takes a lock; times are passed in.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import inf

AHEAD_BELOW = 0.005
"""Seconds that recent jobs may have taken on average for the worker to claim ahead of its slots."""

WAIT_BELOW = 4 * AHEAD_BELOW
"""Seconds that jobs of a type may have taken on average for one that was claimed ahead to be kept.

More than AHEAD_BELOW: jobs about as long as that would be claimed and released again and again."""

AHEAD_SECONDS = 0.25
"""Seconds of work, by that average, that are claimed ahead at most; and for how long after the last end of a job."""

AHEAD_JOBS = 128
"""Jobs that are claimed ahead at most."""

SHORT = 0.0003
"""Seconds that recent jobs may typically have taken to count as short: one thread runs thousands of them a second."""

GATHER = 4
"""While jobs are short a call, which has a fixed cost, waits until one in so many of the claimed jobs ended."""


class Pace:
    """Durations of one worker's runs, of all types together and of each."""

    def __init__(self, slots: int, claims_ahead: bool) -> None:
        """Start without durations. ``claims_ahead``: True if the engine claims many jobs for little more than one."""
        self._slots = slots
        self._claims_ahead = claims_ahead
        self._average = 1.0
        self._typical = 1.0  # about the median: a rare long run must not matter here
        self._by_type: dict[str, float] = {}
        self._given_back: set[str] = set()
        self._ended_at = -inf
        self._most = AHEAD_JOBS

    def ended(self, job_type: str, seconds: float, now: float) -> None:
        """Take note of a run that took so many seconds and ended at ``now``, of a monotonic clock."""
        self._average += (seconds - self._average) / 8
        self._typical *= 1.25 if seconds > self._typical else 0.8
        before = self._by_type.get(job_type, seconds)
        self._by_type[job_type] = before + (seconds - before) / 8
        if seconds < AHEAD_BELOW:
            self._given_back.discard(job_type)
        self._ended_at = now

    def limited(self, has_parked: bool, woken: int) -> None:
        """Take note of a call, some of whose claims are parked for want of slots, and of how many jobs were woken.

        Claimed ahead, more of their kind would be parked, too.
        """
        self._most = min(woken, AHEAD_JOBS) if has_parked else AHEAD_JOBS

    def gave_back(self, job_types: Iterable[str]) -> None:
        """Claim nothing ahead until a job of each of these types has ended in less than AHEAD_BELOW."""
        self._given_back.update(job_types)

    def ahead(self, now: float) -> int:
        """Return how many jobs may be claimed beyond those that a slot is free for."""
        if not self._claims_ahead or self._given_back or self._average > AHEAD_BELOW:
            return 0
        if now - self._ended_at > AHEAD_SECONDS:
            return 0  # what runs now takes longer than what ran before
        return min(self._most, int(AHEAD_SECONDS * self._slots / max(self._average, 1e-6)))

    def may_wait(self, job_type: str) -> bool:
        """Return True if a claimed job of this type may wait for a slot: one that was never measured may not."""
        return self._by_type.get(job_type, inf) < WAIT_BELOW and job_type not in self._given_back

    def behind(self, job_type: str) -> int:
        """Return how many claimed jobs of this type may wait for one run, with which they share a limit's slot."""
        if not self._claims_ahead or not self.may_wait(job_type):
            return 0
        return min(2 * AHEAD_JOBS, int(AHEAD_SECONDS / max(self._by_type[job_type], 1e-6)))

    @property
    def is_short(self) -> bool:
        """True while jobs take next to no time."""
        return self._typical < SHORT

    def gathers(self, ended: int, in_flight: int) -> bool:
        """Return True if ended jobs are to wait for those that are about to end."""
        return self.is_short and GATHER * ended < in_flight


SHORTEST_PAUSE, SHORTEST_REFUSAL_PAUSE, LONGEST_CLAIM_PAUSE = 0.05, 0.1, 5.0
"""Seconds until the next claim while claiming fails, or while jobs are only refused: at first, and at most."""


CROWD = 100
"""Refusals in one call after which the next call is soon: they are a backlog, which one refusal each moves away."""


class ClaimTimes:
    """Time of a worker's next claim, after pauses that grow while claiming fails or it can take none of the jobs."""

    def __init__(self) -> None:
        self._failed = 0.0
        self._refused = 0.0
        self.next_at = -inf
        """Earliest time of the next claim, by the monotonic clock."""

    def note(self, now: float, has_failed: bool, refused: int) -> None:
        """Take note of a call that was to claim; ``refused``: how many jobs, if it claimed none."""
        self._failed = min(max(self._failed * 2, SHORTEST_PAUSE), LONGEST_CLAIM_PAUSE) if has_failed else 0.0
        longest = SHORTEST_REFUSAL_PAUSE if refused >= CROWD else LONGEST_CLAIM_PAUSE
        self._refused = min(max(self._refused * 2, SHORTEST_REFUSAL_PAUSE), longest) if refused else 0.0
        if pause := max(self._failed, self._refused):
            # Jittered, so that workers that were cut off together don't reconnect together.
            self.next_at = now + pause * random.uniform(0.5, 1.0)
