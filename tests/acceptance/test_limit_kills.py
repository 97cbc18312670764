"""Workers with limits, killed with SIGKILL: never more runs at once than allowed, and nothing parked for ever.

What runs is counted outside ZeroG: each run appends a line to a ledger when it begins and one when it ends, and the
test appends one for each process that is gone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from marshmallow import Schema, fields

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for as redis_url_for
from tests.backends.rq.queues import url_for as rq_url_for
from tests.processes import stretched
from zerog.maintenance.reconcile import INTERVAL
from zerog.records.job import TERMINAL

MOST, WORKERS, LEASE = 3, 4, 2.0
SEED = int(os.environ.get("ZEROG_KILL_SEED", "0")) or random.randrange(1, 10**6)

LIMITED = """
import os
import time

import zerog
from marshmallow import Schema, fields

LEDGER = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Limited(zerog.BaseJob):
    JOB_TYPE = "limited"
    ATTRIBUTES = ("customer",)
    MAX_RUNNING = 3
    CONCURRENCY_KEY = "customer"
    MAX_RUNNING_PER_KEY = 1
    MAX_LOST = 1000

    class Params(Schema):
        customer = fields.String(required=True)

    def note(self, what):
        os.write(LEDGER, f"{what} {os.getpid()} {self.customer} {time.time()}\\n".encode())

    def run(self):
        self.note("begin")
        time.sleep(0.06)
        self.note("end")


app = zerog.App(**PARTS)
app.register(Limited)
"""

Parts = Callable[[Path], dict[str, str]]


def sqlite(folder: Path) -> dict[str, str]:
    return {"url": f"sqlite:///{folder}/jobs.db"}


def redis(folder: Path) -> dict[str, str]:
    return {"url": redis_url_for(folder)}


def postgres(folder: Path) -> dict[str, str]:
    return {"url": postgres_url_for(folder)}


def apart(folder: Path) -> dict[str, str]:
    """Documents in a file and entries in RQ's queues: the generic engine."""
    return {"datastore": f"sqlite:///{folder}/jobs.db", "queue": rq_url_for(folder)}


class Limited(zerog.BaseJob):
    """The class as a client has it."""

    JOB_TYPE = "limited"
    ATTRIBUTES = ("customer",)

    class Params(Schema):
        customer = fields.String(required=True)

    def run(self) -> None: ...


class Plan(NamedTuple):
    """How many jobs of how many customers, and how many workers are killed meanwhile."""

    jobs: int
    customers: int
    kills: int
    are_short: bool = False
    """True if jobs take so little time that those of one worker share slots; then customers have no limits."""

    @property
    def most_of_one(self) -> int:
        """Return how many jobs of one customer may run at once."""
        return MOST if self.are_short else 1

    def code(self, parts: dict[str, str]) -> str:
        """Return the code of the app."""
        code = LIMITED.replace("PARTS", repr(parts))
        if self.are_short:
            code = code.replace("0.06", "0.003").replace("    MAX_RUNNING_PER_KEY = 1\n", "")
        return code


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "zerog", "worker", "limited:app", "--lease", str(LEASE), "--concurrency", "3"]
    with subprocess.Popen([*command, "--log-level", "ERROR"], cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


def most_at_once(lines: list[list[str]]) -> tuple[int, int, int]:
    """Return how many ran at once at most, of all and of one customer, and how many runs were cut off."""
    running: list[tuple[str, str]] = []
    most = of_one = cut_off = 0
    for what, pid, customer, _ in lines:
        if what == "begin":
            running.append((pid, customer))
            most = max(most, len(running))
            of_one = max(of_one, *Counter(customer for _, customer in running).values())
        elif what == "end":
            running.remove((pid, customer))
        else:
            cut_off += sum(each == pid for each, _ in running)
            running = [run for run in running if run[0] != pid]
    return most, of_one, cut_off


@pytest.mark.parametrize(
    ("parts", "plan"),
    [
        pytest.param(sqlite, Plan(150, 20, 3), id="few", marks=pytest.mark.wide),
        pytest.param(sqlite, Plan(600, 2, 3, are_short=True), id="short", marks=pytest.mark.wide),
        *(
            pytest.param(parts, Plan(2_000, 50, 15), id=parts.__name__, marks=[pytest.mark.slow])
            for parts in (sqlite, redis, postgres, apart)
        ),
        *(
            pytest.param(
                parts, Plan(6_000, 2, 9, are_short=True), id=f"short-{parts.__name__}", marks=[pytest.mark.slow]
            )
            for parts in (sqlite, redis, postgres)
        ),
    ],
)
@pytest.mark.timeout(3_000)
def test_killed_workers_leave_no_slot_taken_and_none_free(parts: Parts, plan: Plan, tmp_path: Path) -> None:
    """All jobs end, each once, and never do more run at once than the limits allow."""
    chance = random.Random(SEED)
    given = parts(tmp_path)
    (tmp_path / "limited.py").write_text(plan.code(given))
    (tmp_path / "ledger").touch()
    app: Any = zerog.App(**given)  # type: ignore[arg-type]
    try:
        app.register(Limited)
        customers = [f"c{chance.randrange(plan.customers)}" for _ in range(plan.jobs)]
        app.submit_many("limited", [{"customer": customer} for customer in customers])
        kill_until_all_ended(app, plan, tmp_path, chance)
        statuses = Counter(row["status"] for row in app.jobs())
    finally:
        app.close()
    lines = [line.split() for line in (tmp_path / "ledger").read_text().splitlines()]
    most, of_one, cut_off = most_at_once(lines)
    print(f"seed {SEED}: {statuses}, {most} at once, {of_one} of one customer, {cut_off} runs cut off")
    assert statuses == {"succeeded": plan.jobs}
    assert most == MOST
    assert of_one <= plan.most_of_one
    assert cut_off > 0, "no kill hit a running job; the test shows nothing"
    assert sum(what == "end" for what, *_ in lines) >= plan.jobs


def stop_one(workers: list[subprocess.Popen[bytes]], folder: Path, chance: random.Random, is_in_run: bool) -> int:
    """Stop a worker by SIGSTOP, of those that are in a run if ``is_in_run``; return its number."""
    while True:
        number = chance.randrange(WORKERS)
        pid = workers[number].pid
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        noted = Counter(line.split()[0] for line in (folder / "ledger").read_text().splitlines() if f" {pid} " in line)
        if not is_in_run or noted["begin"] > noted["end"]:
            return number
        os.kill(pid, signal.SIGCONT)


def kill_until_all_ended(app: Any, plan: Plan, folder: Path, chance: random.Random) -> None:
    """Kill workers at random and replace them until all jobs have ended; no longer than sweeps need without an end."""
    patience = LEASE + 2 * 1.2 * INTERVAL + 10
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(folder)) for _ in range(WORKERS)]
        ended, since, kills = 0, time.monotonic(), 0
        while ended < plan.jobs:
            time.sleep(chance.uniform(0.02, 0.1))
            now_ended = sum(app.count(status=status).number for status in TERMINAL)
            if now_ended > ended:
                ended, since = now_ended, time.monotonic()
            waited = time.monotonic() - since
            assert waited < stretched(patience), f"{ended} of {plan.jobs} ended, none for {waited:.0f} s"
            if kills < plan.kills and ended > (kills + 1) * plan.jobs // (plan.kills + 2):
                number = stop_one(workers, folder, chance, kills == 0 or chance.random() < 0.5)
                workers[number].send_signal(signal.SIGKILL)
                workers[number].wait()
                with (folder / "ledger").open("a") as ledger:
                    ledger.write(f"gone {workers[number].pid} - {time.time()}\n")
                workers[number] = stack.enter_context(worker(folder))
                kills += 1
        assert kills == plan.kills
