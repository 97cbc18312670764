"""Ten thousand failed jobs: listed, filtered, retried and removed, with a bar, in the memory of a page."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import zerog
from tests.backends.redis.servers import url_for
from tests.cli.builders import without_app
from zerog.engine.transitions import Settlement, WorkerIdentity, erred, error_record
from zerog.records.job import new_document
from zerog.records.operations import Add
from zerog.support.clock import SYSTEM, to_text

APP = """
import zerog

class Broken(zerog.BaseJob):
    JOB_TYPE = "broken"

    def run(self):
        return 500

app = zerog.App({url!r})
app.register(Broken)
"""

FEW, MANY = 1_000, 10_000


def fill(app: zerog.App, number: int) -> None:
    """Failed jobs, each with three errors; every second one has lost its connection."""
    worker = WorkerIdentity("alice", 3600.0)
    for start in range(0, number, 500):
        count = min(500, number - start)
        documents = [{**new_document("broken", 1.0, to_text(SYSTEM.now())), "padding": "x" * 500} for _ in range(count)]
        app.engine.submit(documents)
        claims = app.engine.claim(count, worker, lambda head: head["jobType"])
        settlements = []
        for index, claim in enumerate(claims):
            kind = "ConnectionError" if index % 2 else "ValueError"
            operations: list[Any] = []
            for attempt in (1, 2, 3):
                record = error_record(
                    claim.head["startedAt"], 500, f"{kind}: no", attempt, type=kind, traceback="t" * 2_000
                )
                operations += erred(record, 100)
            operations.append(Add("errorCount", 3))
            settlements.append(Settlement(claim, "finish", 1, 500, operations=operations))
        assert all(app.engine.settle(settlements))


class Run(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    terminal: str
    seconds: float
    mib: float


def run(folder: Path, *arguments: str) -> Run:
    """A command whose standard error is a terminal, and whose output is a file."""
    ours, theirs = pty.openpty()
    out, measured = folder / "stdout", folder / "measured"
    environment = {**without_app(), "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": f"{folder}{os.pathsep}."}
    command = [sys.executable, "-m", "tests.cli.measured", str(measured), *arguments]
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            shown.append(data)

    with out.open("w") as file, subprocess.Popen(command, stdout=file, stderr=theirs, env=environment) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        process.wait(timeout=300)
        reader.join()
    os.close(ours)
    recorded = json.loads(measured.read_text())
    return Run(process.returncode, out.read_text(), b"".join(shown).decode(), recorded["seconds"], recorded["mib"])


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db?synchronous=normal" if request.param == "sqlite" else url_for(tmp_path)


def session(folder: Path, url: str, number: int) -> dict[str, Run]:
    (folder / "myapp.py").write_text(APP.format(url=url))
    app = zerog.App(url)
    for job in app.jobs():
        app.discard(job["uuid"])
    fill(app, number)
    runs: dict[str, Run] = {}
    half = number // 2
    runs["ls"] = run(folder, "jobs", "ls", "myapp:app", "--status", "failed", "--all", "--json")
    assert runs["ls"].stdout.count("\n") == number
    runs["ls --errors"] = run(folder, "jobs", "ls", "myapp:app", "--status", "failed", "--all", "--errors")
    assert runs["ls --errors"].stdout.count("\n") == number + 1
    runs["ls --error"] = run(folder, "jobs", "ls", "myapp:app", "--all", "--json", "--error", "ConnectionError")
    assert runs["ls --error"].stdout.count("\n") == half
    retry = ("jobs", "retry", "myapp:app", "--error", "ConnectionError", "--reason", "the network is back", "--yes")
    runs["retry --error"] = run(folder, *retry)
    assert runs["retry --error"].stdout == f"{half:,} jobs queued again.\n"
    assert f"{half}/{half}" in runs["retry --error"].terminal
    assert sum(1 for _ in app.jobs(status="queued")) == half
    runs["rm"] = run(folder, "jobs", "rm", "myapp:app", "--status", "failed", "--yes")
    assert runs["rm"].stdout == f"{number - half:,} jobs removed.\n"
    assert f"{half}/{half}" in runs["rm"].terminal
    assert sum(1 for _ in app.jobs(status="failed")) == 0
    for job in app.jobs():
        app.cancel(job["uuid"])
    app.close()
    return runs


def test_a_list_written_to_a_file_shows_its_progress(tmp_path: Path) -> None:
    """On the terminal that standard error is; the file has the list and nothing else."""
    url = f"sqlite:///{tmp_path}/jobs.db?synchronous=normal"
    (tmp_path / "myapp.py").write_text(APP.format(url=url))
    fill(zerog.App(url), 20)
    done = run(tmp_path, "jobs", "ls", "myapp:app", "--error", "ValueError", "--errors")
    assert done.code == 0
    assert [line.endswith("[500] ValueError: no") for line in done.stdout.splitlines()] == [False, *[True] * 10]
    assert "listed" in done.terminal
    assert "10" in done.terminal


@pytest.mark.slow
def test_ten_thousand_failed_jobs_in_the_memory_of_a_page(url: str, tmp_path: Path) -> None:
    """Each command takes no more memory for ten thousand than for one thousand; each shows how far it is."""
    few, many = session(tmp_path, url, FEW), session(tmp_path, url, MANY)
    for name, one in many.items():
        print(f"{name:14} {one.seconds:6.2f} s {one.mib:6.1f} MiB; for {FEW:,}: {few[name].mib:6.1f} MiB")
        assert one.code == 0, one.terminal
        assert one.mib - few[name].mib < 8, name
        assert "━" in one.terminal, name
