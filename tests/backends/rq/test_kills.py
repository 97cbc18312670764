"""Both kinds of consumers killed at random moments under many jobs, on one queue."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest

KINDS = ["zerog", "zerog.rqworker.ZerogWorker", "rq.SimpleWorker"]


@pytest.mark.slow
def test_mixed_consumers_killed_at_random(site) -> None:
    """Every job has its one result, and RQ's registries are clean two minutes after the last kill."""
    rng = random.Random(7)
    uuids = [site.line() for _ in range(400)]
    workers = {kind: start(site, kind) for kind in KINDS}
    for moment in sorted(rng.sample(range(20, 380), 9)):
        site.until(lambda moment=moment: len(site.written()) >= moment, 60)
        kind = rng.choice(KINDS)
        kill(site, workers[kind])
        workers[kind] = start(site, kind)
    killed = time.monotonic()
    assert set(site.until_ended(*uuids, seconds=120)) == {"succeeded"}
    with suppress(AssertionError):
        site.until(site.is_clean, 120 - (time.monotonic() - killed))
    assert site.registries() == dict.fromkeys(site.registries(), 0)
    for uuid in uuids:
        job = site.app.get_job(uuid)
        assert (job.attempts, job.errorCount, job.resultCode) == (1 + job.lost, 0, 200)


def start(site, kind: str) -> subprocess.Popen[bytes]:
    return site.zerog_worker("--concurrency", "2") if kind == "zerog" else site.worker(kind)


def kill(site, worker: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a worker and to what it has forked."""
    children = [pid for _, pid, parent in site.written()[-20:] if parent == str(worker.pid)]
    site.kill(worker)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
