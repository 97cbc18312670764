"""Faults: a worker or a server is ended at random moments while jobs run; which jobs are lost, stuck, run twice?"""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Any

from harness.adapters import Peer
from harness.bed import STOP_SECONDS, Bed
from harness.servers import wait_for

HITS = 5
"""Faults of one run, but for the server, which dies once."""

NEXT_SECONDS = 40
"""How long a worker may take to complete something after a fault."""

RECONNECT_SECONDS = 45
"""How long a worker may take to resume after its server is back."""

LATE_SECONDS = 20
"""Wait after the last job, in which second runs show up."""


def faults(peer: Peer, how: str, jobs: int, patience: float, seed: str) -> dict[str, Any] | None:
    """One run. ``how``: kill (SIGKILL to the whole worker), term (SIGTERM) or server (SIGKILL to it)."""
    if how == "server" and not peer.servers:
        return None
    with Bed(peer, "faults") as bed:
        return _Run(bed, how, jobs, random.Random(f"{peer.name} {how} {seed}")).perform(patience)


class _Run:
    def __init__(self, bed: Bed, how: str, jobs: int, dice: random.Random) -> None:
        self.bed = bed
        self.how = how
        self.jobs = jobs
        self.dice = dice
        self.shape = bed.first_of((1, 4), (4, 1), (1, 1))
        self.exits = 0
        self.forced = 0
        self.stops: list[float] = []
        self.hit_at = 0
        self.reconnects = ""

    def perform(self, patience: float) -> dict[str, Any]:
        self.bed.client("enqueue", kind="sleep", first=0, count=self.jobs, bulk=False)
        self.bed.start_worker(self.shape)
        hits = 0
        for _ in range(1 if self.how == "server" else HITS):
            self._await_progress()
            if self._is_done():
                break
            time.sleep(self.dice.uniform(0.05, 0.35))
            hits += 1
            {"kill": self._kill, "term": self._term, "server": self._server}[self.how]()
        end = time.monotonic() + patience
        while not self._is_done() and time.monotonic() < end:
            self._revive()
            time.sleep(0.1)
        is_done = self._is_done()
        time.sleep(LATE_SECONDS if is_done else 0)
        left = None if is_done else self.bed.client("left")
        return {"hits": hits} | self._counted(is_done, left) | self._extras(left)

    def _await_progress(self) -> None:
        seen = self.bed.count()
        end = time.monotonic() + NEXT_SECONDS
        while self.bed.count() <= seen and time.monotonic() < end and not self._is_done():
            self._revive()
            time.sleep(0.02)

    def _is_done(self) -> bool:
        return len({n for n, _, _ in self.bed.records()}) >= self.jobs

    def _revive(self) -> None:
        """Start a worker again that ended unasked, as a supervisor does."""
        if self.bed.worker_has_ended():
            self.exits += 1
            self.bed.kill_worker()
            time.sleep(0.2)
            self.bed.start_worker(self.shape)

    def _kill(self) -> None:
        self.bed.kill_worker()
        self.hit_at = time.time_ns()
        self.bed.start_worker(self.shape)

    def _term(self) -> None:
        self.hit_at = time.time_ns()
        took = self.bed.stop_worker()
        self.forced += took is None
        self.stops.append(STOP_SECONDS if took is None else took)
        self.bed.start_worker(self.shape)

    def _server(self) -> None:
        server = self.bed.servers[self.bed.peer.servers[0]]
        server.kill()
        time.sleep(1)
        server.start()
        self.hit_at = time.time_ns()
        before = self.bed.count()

        def goes_on() -> bool:
            return self.bed.count() > before + 20 or self._is_done() or self.bed.worker_has_ended()

        if not wait_for(goes_on, RECONNECT_SECONDS):
            self.reconnects = "no"
            self.bed.kill_worker()
            self.bed.start_worker(self.shape)
        else:
            self.reconnects = "exits" if self.bed.worker_has_ended() else "yes"

    def _counted(self, is_done: bool, left: dict[str, int] | None) -> dict[str, Any]:
        first: dict[int, int] = {}  # read after asking the peer: a job that ends in between must not look lost
        for n, at, _ in self.bed.records():
            first.setdefault(n, at)
        missing = self.jobs - len(first)
        held = min(missing, sum(left.values())) if left else 0
        is_known = is_done or left is not None
        return {
            "lost": missing - held if is_known else missing,
            "stuck": held if is_known else "?",
            "duplicated": self.bed.count() - len(first),
            "recover s": (max(first.values()) - self.hit_at) / 1e9,
            "worker exits": self.exits,
        }

    def _extras(self, left: dict[str, int] | None) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.reconnects:
            extras["reconnects"] = self.reconnects
        if left:
            extras["left"] = json.dumps(left)
        if self.stops:
            extras |= {"stop s": statistics.median(self.stops), "had to be killed": self.forced}
        return extras
