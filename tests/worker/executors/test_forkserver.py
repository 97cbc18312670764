"""The process that forks children, and the worker's use of its reports."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.forks import in_a_fork
from tests.processes import stat_of, until
from tests.worker.builders import Started
from zerog.support.clock import SYSTEM
from zerog.worker.executors import cleanup, forkserver
from zerog.worker.executors.process import ProcessExecutor
from zerog.worker.outcome import LOST


def test_it_leaves_quietly_when_its_last_words_were_not_read() -> None:
    """A worker that ends at that very moment resets the connection; that is a normal end, and no failure."""
    worker, its_own = socket.socketpair()
    its_own.sendall(b'{"pid": 5, "status": 0}\n')
    worker.close()
    assert in_a_fork(lambda: forkserver._serve(its_own, lambda connection: None, set())) == 0
    its_own.close()


@pytest.mark.parametrize("is_leaving", [True, False])
def test_a_child_that_ends_with_its_worker_has_not_crashed(is_leaving: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that leaves releases its jobs itself; only an unwanted death is logged and counted."""
    caplog.set_level(logging.WARNING, "zerog")
    started = Started(lambda self: 200)
    reports: Any = SimpleNamespace(is_gone=True, how_it_ended=lambda pid, timeout: 9)
    slots = ProcessExecutor(started.app, 1, 30.0, lambda *_: None, SYSTEM, reports)
    if is_leaving:
        slots.abandon("the worker is shutting down")
    child: Any = SimpleNamespace(pid=0, killed=False)
    outcome = slots._died(started.claim, child, has_begun=True)
    crashes = started.app.get_job(started.uuid).crashes
    if is_leaving:
        assert (outcome is not None and outcome.kind, crashes, caplog.text) == (LOST, 0, "")
    else:
        assert (outcome, crashes) == (None, 1)
        assert "SIGKILL" in caplog.text


def test_a_process_of_another_user_that_a_job_left_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may not be killed, and waiting for its end could take for ever."""

    def refuse(pid: int, _number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        others = cleanup.children() - {process.pid}
        kill = os.kill
        monkeypatch.setattr(cleanup.os, "kill", refuse)
        assert cleanup.end_children(spared=others) == 1
        monkeypatch.setattr(cleanup.os, "kill", kill)
        assert process.poll() is None
        assert str(process.pid) in caplog.text
        monkeypatch.setattr(forkserver.os, "killpg", refuse)
        forkserver.kill_group(process.pid)
        process.communicate(b"\n")


def test_a_nursery_that_fails_runs_nothing_of_the_program_that_forked_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever it raises, even while it cleans up: it ends, and the worker learns that it is gone."""

    def fail() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(forkserver, "adopt_orphans", fail)
    monkeypatch.setattr(forkserver, "end_children", fail)
    program = tmp_path / "program"

    def live() -> None:
        try:
            forked = forkserver.ForkServer(lambda connection: None)
            until(lambda: forked.is_gone)
        finally:
            with program.open("a") as file:
                file.write(f"{os.getpid()}\n")

    assert in_a_fork(live) == 0
    assert len(program.read_text().splitlines()) == 1


def test_a_long_lived_program_keeps_no_dead_nursery() -> None:
    """Each worker of processes has one, and waits for its end."""
    forked = forkserver.ForkServer(lambda connection: None)
    assert stat_of(forked.pid)
    forked.close()
    until(lambda: not stat_of(forked.pid))
