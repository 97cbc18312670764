"""Debug mode: jobs on the main thread, one at a time, without time limits."""

from __future__ import annotations

import asyncio
import bdb
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from zerog.worker.settings import DEBUG_LEASE


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as made:
        yield made


def submitted(app: zerog.App, run: Callable[..., Any], **attributes: Any) -> str:
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, **attributes}))
    return app.submit("made").uuid


@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_jobs_run_in_the_calling_thread_one_at_a_time(
    app: zerog.App, executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the other options say; the log says once what holds."""
    places: list[tuple[int, int]] = []
    busy = threading.Lock()

    def run(job: Any) -> None:
        with busy:
            places.append((os.getpid(), threading.get_ident()))
            if len(places) == 1:
                leases.append(job.owner["lease"])

    leases: list[float] = []
    submitted(app, run)
    app.submit_many("made", [{}, {}])
    worker = zerog.Worker(app, executor=executor, concurrency=4, lease=1, debug=True)
    assert worker.run(burst=True).succeeded == 3
    assert set(places) == {(os.getpid(), threading.get_ident())}
    assert (worker.config()["debug"], leases) == (True, [DEBUG_LEASE])
    assert len([r for r in caplog.records if "is in debug mode" in r.getMessage()]) == 1


def test_there_are_no_time_limits(app: zerog.App) -> None:
    """Neither the class's nor the job's own."""

    def run(job: Any) -> None:
        time.sleep(0.2)
        job.tick()

    submitted(app, run, TIMEOUT=0.1, SOFT_TIMEOUT=0.05)
    own = app.submit("made", timeout=0.1, soft_timeout=0.01)
    assert zerog.Worker(app, debug=True).run(burst=True).succeeded == 2
    assert app.progress(own.uuid)["errorCount"] == 0


def test_coroutines_run_there_too(app: zerog.App) -> None:
    async def run(job: Any) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"thread": threading.get_ident()}

    uuid = submitted(app, run)
    zerog.Worker(app, debug=True).run(burst=True)
    assert app.get_job(uuid).output == {"thread": threading.get_ident()}


@pytest.mark.parametrize("how", ["Ctrl-C", "quit"])
def test_ctrl_c_and_leaving_the_debugger_release_the_job(app: zerog.App, how: str) -> None:
    """The worker ends; the job is queued again and nothing is counted."""

    def run(job: Any) -> None:
        if how == "quit":
            raise bdb.BdbQuit
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    uuid = submitted(app, run)
    stats = zerog.Worker(app, debug=True).run()
    assert (stats.ran, stats.released) == (1, 1)
    progress = app.progress(uuid)
    assert (progress["status"], progress["attempts"], progress["errorCount"]) == ("queued", 0, 0)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("text", "is_debug"), [("1", True), ("0", False), ("", False)])
def test_the_environment_decides_unless_the_program_does(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch, text: str, is_debug: bool
) -> None:
    monkeypatch.setenv("ZEROG_DEBUG", text)
    assert zerog.Worker(app).settings.debug == is_debug
    assert not zerog.Worker(app, debug=False).settings.debug
    assert zerog.Worker(app, debug=True).settings.debug


def test_what_cannot_be_is_refused(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(zerog.ConfigurationError, match="debug='yes'; expected True, False, or None"):
        zerog.Worker(app, debug="yes")  # type: ignore[arg-type]
    with pytest.raises(zerog.ConfigurationError, match="in debug mode runs jobs in the thread that calls run"):
        with zerog.Worker(app, debug=True):
            raise AssertionError("it must not come to this")
    monkeypatch.setenv("ZEROG_DEBUG", "on")
    with pytest.raises(zerog.ConfigurationError, match="ZEROG_DEBUG='on'; expected 1"):
        zerog.Worker(app)


def test_pdb_has_the_terminal_of_the_command(tmp_path: Path) -> None:
    """Without further processes, whatever --processes says; ``q`` ends the worker and releases the job."""
    (tmp_path / "debugged.py").write_text(APP)
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as app:
        uuids = [submitted(app, lambda job: None), app.submit("made").uuid]
        command = [sys.executable, "-m", "zerog", "worker", "debugged:app", "--debug", "--processes", "2"]
        text = "p 40 + x\nc\nq\n"
        ended = subprocess.run(
            command, cwd=tmp_path, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert (ended.returncode, "(Pdb) 42" in ended.stdout) == (0, True), ended.stderr
        assert [app.progress(uuid)["status"] for uuid in uuids] == ["succeeded", "queued"]


APP = """
import zerog

app = zerog.App("sqlite:///jobs.db")


class Made(zerog.BaseJob):
    JOB_TYPE = "made"

    def run(self):
        x = 2
        breakpoint()
        return 200


app.register(Made)
"""
