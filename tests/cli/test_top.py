"""``zerog top``: one screen in a pipe, a live one on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

import zerog
from tests.cli.builders import Shop, without_app
from tests.cli.conftest import Zerog
from zerog.cli.commands.top import _draw
from zerog.cli.top.screen import lines_of
from zerog.cli.top.snapshot import Watch
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock


def test_it_prints_one_screen_in_a_pipe(shop: Shop, zerog: Zerog) -> None:
    """Running and waiting jobs, queues, workers and the runs of the last minutes."""
    running, ended = shop.running(), shop.ended()
    shop.app.datastore.mutate(make_key(running), [Set("completeness", 0.25)])
    waiting = shop.submitted(queue="archive")
    shop.app.fleet.pause("archive", "full", "ann")
    printed = zerog("top", "myapp:app").stdout
    lines = printed.splitlines()
    assert lines[0].startswith("zerog top  myapp:app")
    assert lines[2] == "Jobs     1 running, 1 queued, 0 scheduled"
    assert [line for line in lines if line.startswith(running) and " 25% " in line]
    assert [line for line in lines if line.startswith(waiting) and "archive" in line]
    assert [line for line in lines if line.startswith("archive") and line.endswith("paused")]
    assert ended not in printed


def test_it_counts_the_runs_of_workers(shop: Shop, zerog: Zerog) -> None:
    shop.submitted()
    shop.submitted()
    worker = zerog("worker", "myapp:app", "--burst")
    assert worker.exit_code == 0
    [runs] = [line for line in zerog("top", "myapp:app", "--once").stdout.splitlines() if line.startswith("Runs")]
    assert "2 in 30 minutes" in runs
    shown = json.loads(zerog("top", "myapp:app", "--json").stdout)
    assert sum(sum(each["runs"].values()) for minute in shown["rates"] for each in minute["types"].values()) == 2
    assert {"time", "jobs", "running", "waiting", "queues", "workers", "rates"} == shown.keys()


def app_with(clock: ManualClock, running: int) -> zerog.App:
    """An app whose worker runs so many jobs, half of each done."""
    app = zerog.App("memory://", clock=clock)

    @app.job("a_job_with_a_long_name_größer")
    def slow(job: zerog.BaseJob) -> None:
        pass

    uuids = app.submit_many(slow, [{}] * (running + 7))
    worker = WorkerIdentity("web1-4711-a1b2c3", 30.0)
    app.engine.claim(running, worker, lambda head: head["jobType"])
    WorkerRecords(app.engine).renew(worker, 1, lambda: {"queues": ["default"], "state": "running"})
    for uuid in uuids[:running]:
        app.datastore.mutate(make_key(uuid), [Set("completeness", 0.5)])
    clock.advance(60)
    return app


@pytest.mark.parametrize("columns", [72, 80, 120, 200])
def test_the_screen_fits_its_terminal(columns: int) -> None:
    """However many jobs run."""
    clock = ManualClock()
    watch = Watch(app_with(clock, 60))
    console = Console(file=io.StringIO(), width=columns, height=24)
    lines = lines_of(watch.look(), "myapp:app", console, 23)
    assert len(lines) <= 23
    assert [line.plain for line in lines if cell_len(line.plain) > columns] == []
    plain = "\n".join(line.plain for line in lines)
    assert " more\n" in plain and " 50%" in plain and "WAITED" in plain and "QUEUE" in plain


def test_rate_and_time_left_are_those_of_the_last_looks() -> None:
    """Before there are two looks, those of the whole run."""
    clock = ManualClock()
    app = app_with(clock, 1)
    watch = Watch(app)
    [job] = watch.look()["running"]
    assert (job["rate"], job["secondsLeft"]) == (pytest.approx(0.5 / 60), pytest.approx(60))
    app.datastore.mutate(make_key(job["uuid"]), [Set("completeness", 0.6)])
    clock.advance(2)
    [job] = watch.look()["running"]
    assert (job["rate"], job["secondsLeft"]) == (pytest.approx(0.05), pytest.approx(8))


def test_an_outage_is_shown_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last state that was seen, and until the datastore answers again."""
    watch = Watch(app_with(ManualClock(), 1))
    genuine, asked = watch.look, iter([True, False, True])

    def look() -> dict[str, Any]:
        if not next(asked):
            raise DatastoreUnavailable("the disk is full")
        return genuine()

    monkeypatch.setattr(watch, "look", look)
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, legacy_windows=False)
    keys = iter("  q")
    drawn: list[str] = []

    def pressed(_seconds: float) -> str:
        drawn.append(console.file.getvalue())  # type: ignore[attr-defined]
        return next(keys)

    _draw(watch, "myapp:app", console, 1, pressed)
    first, second, third = drawn
    assert "the disk is full" not in first
    assert "the disk is full" in second[len(first) :] and "a_job_with" in second[len(first) :]
    assert "the disk is full" not in third[len(second) :] and "q quits" in third[len(second) :]


def interrupt(process: subprocess.Popen[bytes], _terminal: int) -> None:
    process.send_signal(signal.SIGINT)


def press_q(_process: subprocess.Popen[bytes], terminal: int) -> None:
    os.write(terminal, b"q")


@pytest.mark.parametrize("end", [press_q, interrupt])
def test_a_key_or_an_interrupt_ends_the_live_screen(
    shop: Shop, end: Callable[[subprocess.Popen[bytes], int], None]
) -> None:
    """With exit code 0, and the terminal as it was."""
    uuid = shop.running()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zerog", "top", "myapp:app", "--interval", "0.2"]
    environment = {**without_app(), "COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=shop.folder, env=environment
    ) as process:
        os.close(theirs)
        printed = b""
        while printed.count(b"q quits") < 2:  # it has looked again
            printed += os.read(ours, 65536)
        end(process, ours)
        try:
            while read := os.read(ours, 65536):
                printed += read
        except OSError:  # the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert uuid[-8:].encode() in printed
    assert printed.count(b"\x1b[?1049h") == printed.count(b"\x1b[?1049l") == 1, "the screen that was there is back"
    assert b"Traceback" not in printed
