"""Real workers with a schedule: the one that leads is killed, and no tick gets two jobs or none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import zerog
from tests.preloaded import StartedProgram
from tests.processes import until
from tests.programs import python
from zerog.records.keys import SWEEPER, worker_key
from zerog.support.clock import from_text

KILLS = 2

PLANNED = """
import os
from datetime import timedelta

import zerog


class Beat(zerog.BaseJob):
    JOB_TYPE = "beat"

    def run(self):
        with open("ledger", "a") as ledger:
            ledger.write(self.headers["tick"] + "\\n")


app = zerog.App("sqlite:///jobs.db")
app.register(Beat)
app.schedule("beat", job_type=Beat, every=timedelta(seconds=1), overlap="queue")
"""


@contextmanager
def worker(folder: Path) -> Iterator[StartedProgram]:
    command = "-m", "zerog", "worker", "planned:app", "--lease", "2", "--log-level", "ERROR"
    process = python().start(*command, folder=folder, log=folder / "worker.log")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def leader(app: zerog.App) -> int | None:
    """The process id of the worker that sweeps."""
    name = (app.datastore.read(SWEEPER) or {}).get("worker")
    record = app.datastore.read(worker_key(name)) if name else None
    return None if record is None else record["pid"]


def test_the_leader_is_killed_and_each_tick_gets_one_job(tmp_path: Path) -> None:
    (tmp_path / "planned.py").write_text(PLANNED)
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    ledger = tmp_path / "ledger"

    def ran() -> int:
        return len(set(ledger.read_text().split())) if ledger.exists() else 0

    with ExitStack() as stack:
        for _ in range(KILLS + 1):
            stack.enter_context(worker(tmp_path))
        for kill in range(KILLS):
            before = ran()
            until(lambda before=before: ran() >= before + 2, 60, f"ticks before kill {kill}")
            pid = until(lambda: leader(app), 30)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: leader(app) not in (None, pid), 60, "another leader")
        before = ran()
        until(lambda: ran() >= before + 2, 60, "ticks after the kills")
    ticks = sorted(app.datastore.read(f"zerog_job_{job['uuid']}")["headers"]["tick"] for job in app.jobs())
    moments = [from_text(tick) for tick in ticks]
    assert len(moments) >= 2 * (KILLS + 1)
    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(seconds=1)}
    app.close()
