"""The kill harness: workers killed with SIGKILL at random moments, and the books afterwards.

Everything random is drawn from one seed, which is printed; ZEROG_KILL_SEED sets it. What jobs did is counted outside
ZeroG, too: each appends a line to ``starts`` when it begins and to ``effects`` when it ends, so that runs that were
repeated are visible beside results that must not be.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.acceptance.harness import Workers
from tests.acceptance.lines import EFFECT_BYTES
from tests.preloaded import StartedProgram
from tests.servers import Server
from zerog.contracts.datastore import FindQuery
from zerog.records.job import TERMINAL, make_key

SEED_VARIABLE = "ZEROG_KILL_SEED"


@dataclass(frozen=True)
class Plan:
    """``jobs`` of ``seconds`` each on one worker per entry of ``executors``, one of which is killed ``kills`` times."""

    jobs: int
    kills: int
    executors: tuple[str, ...]
    seconds: float = 0.01
    lease: float = 2.0
    concurrency: int = 4
    patience: float = 60.0
    """Seconds without a single job's end after which the run counts as stuck."""


@dataclass(frozen=True)
class _Hit:
    """A job that was running when its worker was killed."""

    uuid: str
    moment: float
    wall: datetime


@dataclass
class Books:
    """What a run of the harness found. ``lost``, ``failed`` and ``wrong`` must be 0."""

    plan: Plan
    seed: int
    lost: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    missing: int = 0
    """Jobs that have ended although no run was completed."""
    doubled: int = 0
    """Effects beyond the first of each job: runs that were repeated although they had ended."""
    cut_off: int = 0
    runs: int = 0
    rescues: list[float] = field(default_factory=list)
    """Seconds from each kill until each job that it hit was taken from the dead worker, sorted."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each kill to the next run of each job that it hit: with the wait behind all other jobs, sorted."""
    seconds: float = 0.0

    def table(self) -> str:
        """The figures as two lines, with the seed that repeats them."""
        figures: dict[str, Any] = {
            "kills": self.plan.kills,
            "jobs": self.plan.jobs,
            "lost": self.lost,
            "failed": self.failed,
            "wrong": len(self.wrong),
            "doubled effects": self.doubled,
            "runs cut off": self.cut_off,
            "rescued p50/p95/max": percentiles(self.rescues),
            "running again p50/p95/max": percentiles(self.recoveries),
            "seconds": f"{self.seconds:.1f}",
        }
        widths = [max(len(name), len(str(value))) for name, value in figures.items()]
        rows = (figures.keys(), figures.values())
        lines = ["  ".join(str(cell).rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        executors = " + ".join(self.plan.executors)
        return "\n".join([f"{executors}, lease {self.plan.lease:g} s, {SEED_VARIABLE}={self.seed}", *lines])


def percentiles(seconds: list[float]) -> str:
    """Median, 95th percentile and maximum of sorted times."""
    if not seconds:
        return "-"
    return " / ".join(f"{seconds[min(len(seconds) - 1, int(share * len(seconds)))]:.2f}" for share in (0.5, 0.95, 1))


class KillRun:
    """One run of a plan in its own folder."""

    def __init__(self, folder: Path, plan: Plan, url: str | None = None, queue: str | None = None) -> None:
        given = os.environ.get(SEED_VARIABLE)
        self.seed = int(given) if given else random.SystemRandom().randrange(2**32)
        self._plan = plan
        self._random = random.Random(self.seed)
        self._effects, self._starts = folder / "effects", folder / "starts"
        self._effects.touch()
        self._starts.touch()
        concurrency, lease = str(plan.concurrency), str(plan.lease)
        options = ("--concurrency", concurrency, "--lease", lease, "--log-level", "ERROR")
        self._workers = Workers(folder, *options, url=url, queue=queue)
        self._executors: dict[int, str] = {}
        self._hits: list[_Hit] = []
        self._ended: dict[str, int] = {}
        self._uuids: list[str] = []

    def run(self) -> Books:
        """Submit, kill, wait for the end, and check everything."""
        plan = self._plan
        started = time.monotonic()
        params = {"effects": str(self._effects), "starts": str(self._starts), "seconds": plan.seconds}
        with self._workers as w:
            self._uuids = w.app.submit_many("counted", ({"number": n, **params} for n in range(plan.jobs)))
            for executor in plan.executors:
                self._start(executor)
            moments = sorted(self._random.sample(range(1, int(plan.jobs * 0.95)), plan.kills))
            for moment in moments:
                self._until_effects(moment)
                self._kill(self._random.choice(w.running))
            self._until_effects(plan.jobs)
            with suppress(AssertionError):  # the books count what didn't end
                w.until_ended(plan.jobs, plan.patience)
            books = self._audit()
        books.seconds = time.monotonic() - started
        return books

    def _start(self, executor: str) -> None:
        self._executors[self._workers.start("--executor", executor).pid] = executor

    def _done(self) -> int:
        """Effects so far; the file is so much cheaper to read than the documents that reading it changes nothing."""
        return self._effects.stat().st_size // EFFECT_BYTES

    def _until_effects(self, number: int) -> None:
        seen, since = self._done(), time.monotonic()
        while (now := self._done()) < number:
            if now > seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > self._plan.patience:
                # Only doubled effects were in the count so far, or jobs are lost: the books show which.
                return
            time.sleep(0.002)  # the pace of polling, and what makes the moment of a kill a random one

    def _kill(self, worker: StartedProgram) -> None:
        w = self._workers
        self._watch_ended()
        w.kill(worker)
        moment, wall = time.monotonic(), datetime.now(UTC)
        for head in w.app.datastore.find(FindQuery(status="running", limit=500)).heads:
            if f"-{worker.pid}-" in head["owner"]["worker"]:
                self._hits.append(_Hit(head["uuid"], moment, wall))
        self._start(self._executors[worker.pid])

    def _watch_ended(self) -> None:
        """Remember a few documents that have ended, to see that none of them is written again."""
        with self._effects.open("rb") as file:
            file.seek(max(0, self._done() - 40) * EFFECT_BYTES)
            numbers = [int(line) for line in file.read(20 * EFFECT_BYTES).split()]
        for number in numbers[:5]:
            head, token = self._workers.app.datastore.read_with_cas(make_key(self._uuids[number]), head=True)
            if head["status"] in TERMINAL:
                self._ended.setdefault(self._uuids[number], token)

    def _audit(self) -> Books:
        books = Books(self._plan, self.seed)
        for number, uuid in enumerate(self._uuids):
            document, token = self._workers.app.datastore.read_with_cas(make_key(uuid), head=True)
            if document is None or document["status"] not in TERMINAL:
                books.lost += 1
                continue
            books.failed += document["status"] != "succeeded"
            books.cut_off += document["lost"] + document["crashes"]
            books.runs += document["attempts"]
            result = (document["output"], document["resultCode"], document["owner"], document["errorCount"])
            if result != ({"square": number**2}, 200, None, 0):
                books.wrong.append(f"job {number}, {uuid}: {result}")
            if self._ended.get(uuid, token) != token:
                books.wrong.append(f"job {number}, {uuid}: written again after its end")
        effects = Counter(int(line) for line in self._effects.read_text().split())
        books.missing = self._plan.jobs - len(effects)
        books.doubled = sum(effects.values()) - len(effects)
        books.rescues = sorted(self._rescues())
        books.recoveries = sorted(self._recoveries())
        return books

    def _rescues(self) -> Iterator[float]:
        """A rescue leaves an error with its time in the document."""
        for hit in self._hits:
            errors = self._workers.app.datastore.read(make_key(hit.uuid))["errors"]
            later = [moment for e in errors if (moment := datetime.fromisoformat(e["timestamp"])) > hit.wall]
            if later:
                yield (min(later) - hit.wall).total_seconds()

    def _recoveries(self) -> Iterator[float]:
        numbers = {uuid: number for number, uuid in enumerate(self._uuids)}
        starts: defaultdict[int, list[float]] = defaultdict(list)
        for line in self._starts.read_text().splitlines():
            number, moment = line.split()
            starts[int(number)].append(float(moment))
        for hit in self._hits:
            again = [start for start in starts[numbers[hit.uuid]] if start > hit.moment]
            if again:
                yield min(again) - hit.moment


class ServerKillRun(KillRun):
    """Kills the server, too, ``server_kills`` times, each time at the moment of a worker's death."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        server: Server,
        server_kills: int,
        *,
        url: str | None = None,
        queue: str | None = None,
    ) -> None:
        super().__init__(folder, plan, url, queue)
        self._server = server
        moments = range(plan.kills)
        self._down_at = set(self._random.sample(moments, server_kills))
        self._kills = iter(moments)

    def _kill(self, worker: StartedProgram) -> None:
        if next(self._kills) in self._down_at:
            self._server.kill()
            self._server.start()
        super()._kill(worker)
