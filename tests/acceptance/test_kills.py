"""Workers killed with SIGKILL in the middle of their work, and the books afterwards."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers


@pytest.mark.parametrize(("executor", "jobs", "kills"), [("thread", 2_000, 20), ("process", 600, 6)])
def test_killed_workers_lose_nothing(
    executor: str, jobs: int, kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jobs of 10 ms on two workers, one of which is killed again and again: every result is there, right, once."""
    seed = random.SystemRandom().randrange(2**32)
    choice = random.Random(seed)
    started = time.monotonic()
    with Workers(tmp_path, "--executor", executor, "--concurrency", "4", "--lease", "2", "--log-level", "ERROR") as w:
        uuids = w.app.submit_many("square", ({"number": n, "seconds": 0.01} for n in range(jobs)))
        for _ in range(2):
            w.start()
        for kill in range(kills):
            w.until_ended((kill + 1) * jobs // (kills + 2))
            w.kill(choice.choice(w.running))
            w.start()
        counts = w.until_ended(jobs)
        documents = [w.app.datastore.read(f"zerog_job_{uuid}") for uuid in uuids]
        lost_runs = sum(document["lost"] for document in documents)
        attempts = sum(document["attempts"] for document in documents)
        with capsys.disabled():
            print(
                f"\n{executor}: {jobs} jobs, {kills} SIGKILLs (seed {seed}): {counts['succeeded']} succeeded, "
                f"{counts['failed']} failed, {jobs - counts['succeeded']} lost; {attempts} runs, {lost_runs} of them "
                f"cut off, {time.monotonic() - started:.1f} s"
            )
    assert counts == {**dict.fromkeys(counts, 0), "succeeded": jobs}
    assert [document["output"] for document in documents] == [{"square": n**2} for n in range(jobs)]
    assert all(document["resultCode"] == 200 and document["owner"] is None for document in documents)
    assert lost_runs > 0, "no kill hit a running job; the test shows nothing"
    assert attempts == jobs + lost_runs
