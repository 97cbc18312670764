"""The worker under supervisord itself, with the configuration from ``examples/deploy``. Real processes."""

from __future__ import annotations

import getpass
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import pytest
from supervisor.xmlrpc import SupervisorTransport

from tests.acceptance.harness import ROOT, Workers
from tests.acceptance.test_supervisor import worker_pids

pytestmark = pytest.mark.wide

DEPLOY = ROOT / "examples" / "deploy"

JOBS = 4

LINE = "one two three\n"


class Supervisord:
    """A supervisord in a folder with the example's files; only the times are shorter."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        shutil.copy(ROOT / "examples/deploy/myapp.py", folder)
        text = (DEPLOY / "supervisord.conf").read_text()
        worker = "--executor process"
        assert worker in text
        text = text.replace(worker, f"{worker} --lease 2 --grace 10").replace("startsecs = 2", "startsecs = 1")
        text = text.replace("user = myapp", f"user = {getpass.getuser()}")
        (folder / "supervisord.conf").write_text(text)
        self.text = folder / "text.txt"
        self.text.write_text(LINE * 1_200)  # so long that no job ends before the test has it end
        self.w = Workers(folder, module=None)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        self.w.app.register(runpy.run_path(str(folder / "myapp.py"))["WordCount"])
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")]
        environment = {**os.environ, "ZEROG_URL": self.w.url, "PYTHONPATH": str(ROOT)}
        with (folder / "supervisord.out").open("wb") as out:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)

    def close(self) -> None:
        self.process.terminate()  # which stops its programs first
        self.process.wait(60)
        with self.w:
            pass

    def info(self) -> dict[str, Any]:
        """supervisord's state of the worker; empty until it answers."""
        try:
            return self._call("getProcessInfo")
        except OSError:
            return {}

    def stop(self) -> None:
        """Have supervisord stop the worker, and wait until it has ended, unkilled and in time."""
        assert self._call("stopProcess")
        info = self.info()
        assert (info["statename"], info["exitstatus"]) == ("STOPPED", 0)

    def start(self) -> None:
        assert self._call("startProcess")

    def _call(self, verb: str) -> Any:
        transport = SupervisorTransport(serverurl=f"unix://{self.folder}/supervisor.sock")
        with ServerProxy("http://127.0.0.1", transport) as proxy:
            return getattr(proxy.supervisor, verb)("worker")

    def main_pid(self, other_than: int = 0) -> int:
        """The process that supervisord started and found running."""

        def running() -> int | None:
            info = self.info()
            found = info.get("statename") == "RUNNING" and info["pid"] != other_than
            return int(info["pid"]) if found else None

        pid: int = self.w.until(running)
        return pid

    def workers(self) -> list[int]:
        """The two worker processes, once both hold a lease."""
        pids: list[int] = self.w.until(lambda: len(found := worker_pids(self.w)) == 2 and found)
        return pids

    def submit(self, pause: float) -> list[str]:
        params: dict[str, Any] = {"path": str(self.text), "pause": pause}
        return list(self.w.app.submit_many("word_count", [params] * JOBS))

    def heads(self, uuids: list[str]) -> list[dict[str, Any]]:
        return [self.w.app.datastore.read(f"zerog_job_{uuid}") for uuid in uuids]

    def until_on_their_way(self, uuids: list[str]) -> None:
        """Wait until every job runs and is further than now."""
        began = [head["offset"] for head in self.heads(uuids)]

        def are_further() -> bool:
            heads = zip(self.heads(uuids), began, strict=True)
            return all(head["status"] == "running" and head["offset"] > offset for head, offset in heads)

        self.w.until(are_further)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


@pytest.fixture
def supervisord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisord]:
    running = Supervisord(tmp_path, monkeypatch)
    yield running
    running.close()


def test_kill_restart_and_stop(supervisord: Supervisord) -> None:
    """What dies is started again and its jobs resume; a restart costs them nothing; a stop is clean and in time."""
    s = supervisord
    children = s.workers()
    main = s.main_pid()
    uuids = s.submit(0.05)
    s.until_on_their_way(uuids)

    os.kill(main, signal.SIGSTOP)  # or it might replace a child, or a child notice that it is gone
    for pid in (*children, main):
        os.kill(pid, signal.SIGKILL)
    s.main_pid(other_than=main)
    assert not {*s.workers()} & {*children}
    s.until_on_their_way(uuids)
    assert [(head["lost"], head["errorCount"]) for head in s.heads(uuids)] == [(1, 0)] * JOBS

    before = s.heads(uuids)
    s.stop()
    s.start()
    s.until_on_their_way(uuids)
    for earlier, head in zip(before, s.heads(uuids), strict=True):
        assert (head["attempts"], head["lost"]) == (earlier["attempts"], 1)
        assert head["offset"] >= earlier["offset"]

    s.stop()
    assert worker_pids(s.w) == []
    assert [(head["status"], head["owner"]) for head in s.heads(uuids)] == [("queued", None)] * JOBS

    lines = max(head["offset"] for head in s.heads(uuids)) // len(LINE) + 5
    s.text.write_text(LINE * lines)
    s.start()
    s.w.until_ended(JOBS)
    assert [head["output"] for head in s.heads(uuids)] == [{"words": 3 * lines}] * JOBS
    assert [head["attempts"] for head in s.heads(uuids)] == [2] * JOBS

    s.stop()  # by then supervisord has written all that the worker logged; a job is stored before its last line
    records = [line for line in s.log().splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line)]  # no tracebacks
    assert [line for line, times in Counter(records).items() if times > 1] == []
    for uuid in uuids:
        logged = re.findall(rf"{uuid} \S+ (claimed|rescued|released|finished)", s.log())
        assert logged == ["claimed", "rescued", "claimed", "released", "claimed", "released", "claimed", "finished"]


def test_jobs_go_on_without_a_log(supervisord: Supervisord) -> None:
    """supervisord itself is killed, and with it the reader of the workers' output: they end their work undisturbed."""
    s = supervisord
    s.workers()
    main = s.main_pid()
    uuids = s.submit(0.01)
    s.until_on_their_way(uuids)
    s.process.kill()
    s.process.wait()
    try:
        assert s.w.until_ended(JOBS)["succeeded"] == JOBS
        assert [head["attempts"] for head in s.heads(uuids)] == [1] * JOBS
    finally:
        os.kill(main, signal.SIGTERM)
    s.w.until(lambda: worker_pids(s.w) == [], 20)
