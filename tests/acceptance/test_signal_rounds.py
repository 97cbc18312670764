"""Workers ended again and again, by storms of SIGTERM and by SIGKILL in the middle of their shutdown.

The jobs are judged by the database's own record of every change (``audit``), a worker's end by its exit
code: 0 for a clean one, after which it owns nothing any more, and the signal if it was killed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.audit import Audit
from tests.acceptance.harness import Workers
from tests.preloaded import StartedProgram
from tests.processes import stretched

GRACE = 0.5
WAYS = ("stop", "end", "deaf")


class Rounds:
    """One worker after the other on one file, each with running jobs of every kind when its end begins."""

    def __init__(self, w: Workers, folder: Path) -> None:
        self.w = w
        self.over = folder / "over"
        self.audit = Audit(w.app)
        self.uuids: list[str] = []
        self.codes: Counter[int] = Counter()

    def at_work(self) -> StartedProgram:
        """A worker with three more jobs than there were, all its six slots taken."""
        self.submit()
        worker = self.w.start()
        self.w.until(lambda: self.owned_by(worker) >= len(WAYS))
        return worker

    def submit(self) -> None:
        for how in WAYS:
            self.uuids.append(self.w.app.submit("stubborn", {"how": how, "over": str(self.over)}).uuid)

    def owned_by(self, worker: StartedProgram) -> int:
        with self.w.app.datastore.file.reading() as sqlite:
            question = "SELECT count(*) FROM zerog_documents WHERE status = 'running' AND CAST(owner AS TEXT) LIKE ?"
            return int(sqlite.execute(question, (f"%-{worker.pid}-%",)).fetchone()[0])

    def ended(self, worker: StartedProgram, code: int) -> None:
        self.codes[code] += 1
        if code == 0:
            assert self.owned_by(worker) == 0, "it exited with 0, and left running jobs"
        self.w.running.remove(worker)

    def storm(self) -> None:
        """Send a hundred SIGTERMs in a second, or as long as the process lives."""
        worker = self.at_work()
        for _ in range(100):
            worker.terminate()
            if worker.poll() is not None:
                break
            time.sleep(0.01)  # the pace of the storm
        code = worker.wait(stretched(20))
        assert code == 0
        self.ended(worker, code)

    def term_then_kill(self, step: int) -> None:
        """Send SIGTERM, and SIGKILL ``step`` tenths of a second later, unless it has ended by then."""
        worker = self.at_work()
        worker.terminate()
        moment = time.monotonic() + step * 0.1  # not stretched: it is when to kill, no patience
        while worker.poll() is None and time.monotonic() < moment:
            time.sleep(0.005)  # the pace of polling
        worker.kill()
        code = worker.wait(stretched(20))
        assert code in (0, -9)
        self.ended(worker, code)

    def check(self) -> None:
        """Let a healthy worker end all jobs, and check every change there ever was."""
        self.over.touch()
        self.w.start()
        self.w.until_ended(len(self.uuids), 120)
        assert self.audit.violations() == []
        for uuid in self.uuids:
            document = self.w.app.datastore.read(f"zerog_job_{uuid}")
            assert (document["status"], document["resultCode"], document["owner"]) == ("succeeded", 200, None)
            assert document["attempts"] == 1 + document["lost"]
            assert (document["crashes"], document["errorCount"], document["continues"]) == (0, 0, 0)


@pytest.fixture(params=["thread", "process"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rounds(executor: str, tmp_path: Path) -> Iterator[Rounds]:
    options = ("--executor", executor, "--concurrency", "6", "--lease", "0.5", "--grace", str(GRACE))
    with Workers(tmp_path, *options, "--log-level", "ERROR", module="tests.acceptance.stubborn") as w:
        yield Rounds(w, tmp_path)


@pytest.mark.slow
def test_200_rounds_of_signals_settle_nothing_twice(
    rounds: Rounds, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fifty storms and fifty kills at 0, 0.1 … 0.9 s after a SIGTERM, with each executor."""
    started = time.monotonic()
    for number in range(50):
        rounds.storm()
        rounds.term_then_kill(number % 10)
    rounds.check()
    with capsys.disabled():
        seconds = time.monotonic() - started
        print(f"\n{executor}: {rounds.codes.total()} rounds in {seconds:.0f} s, exit codes {dict(rounds.codes)}")
        print(f"{len(rounds.uuids)} jobs, {rounds.audit.writes()['take']} deliveries, 0 runs settled twice")
    assert rounds.codes[-9] >= 3, "hardly a kill came in time; the test shows nothing"


@pytest.mark.wide
def test_sigterm_gives_running_jobs_back_in_time(
    rounds: Rounds, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever they do, running jobs are released within the grace and a second, and their attempts are as before."""
    worker = rounds.at_work()
    rounds.w.until(lambda: all(Path(f"{rounds.over}-{uuid}").exists() for uuid in rounds.uuids))
    before = time.monotonic()
    worker.terminate()
    assert worker.wait(stretched(20)) == 0
    seconds = time.monotonic() - before
    with capsys.disabled():
        print(f"\n{executor}: SIGTERM with three running jobs, grace {GRACE} s: ended after {seconds:.2f} s")
    assert seconds <= stretched(GRACE + 1)
    for uuid, how in zip(rounds.uuids, WAYS, strict=True):
        document = rounds.w.app.datastore.read(f"zerog_job_{uuid}")
        books = document["status"], document["attempts"], document["lost"]
        assert books == (("succeeded", 1, 0) if how == "end" else ("queued", 0, 0))
    rounds.check()
