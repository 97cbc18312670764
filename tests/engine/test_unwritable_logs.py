"""Logs that can't be written, or not whole: no job and no worker fails because of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.harness import ROOT, Workers, run_worker
from tests.marks import wide
from tests.programs import python

MODULE = "tests.engine.logged_app"
CANARY = "kanarienvogel"

EXECUTORS = pytest.mark.parametrize(
    "options",
    [("--executor", "thread"), *wide((("--executor", "process"),), (("--executor", "process", "--processes", "2"),))],
)


def test_what_a_job_printed_last_is_there(tmp_path: Path) -> None:
    """Without a newline, into a pipe, from a child that ends with its worker."""
    (tmp_path / "printing.py").write_text(
        "import zerog\napp = zerog.App('sqlite:///jobs.db')\n"
        "@app.job\ndef speak(job):\n    print('last words', end='')\n"
    )
    assert python().run("-m", "zerog", "submit", "printing:app", "speak", folder=tmp_path).returncode == 0
    ended = run_worker(tmp_path, "printing:app", "--burst", "--executor", "process")
    assert (ended.returncode, "last words" in ended.stdout) == (0, True)


def closed() -> None:
    os.close(0)
    os.close(1)
    os.close(2)


@EXECUTORS
@pytest.mark.parametrize("trouble", ["closed", "disk full", "broken pipe"])
def test_a_log_that_cant_be_written_fails_no_job(options: tuple[str, ...], trouble: str, tmp_path: Path) -> None:
    """Jobs print and log, nothing of it can be written, and every job succeeds; the worker ends as asked."""
    with Workers(tmp_path, module=MODULE) as w:
        uuids = w.app.submit_many("talking", [{"password": CANARY}] * 5)
        with Path("/dev/full").open("w") as full:
            if trouble == "closed":
                result = run_worker(tmp_path, f"{MODULE}:app", "--burst", *options, preexec_fn=closed)
            elif trouble == "disk full":
                result = run_worker(tmp_path, f"{MODULE}:app", "--burst", *options, stdout=full, stderr=full)
            else:
                reading, writing = os.pipe()
                os.close(reading)
                result = run_worker(tmp_path, f"{MODULE}:app", "--burst", *options, stdout=writing, stderr=writing)
                os.close(writing)
        assert result.returncode == 0
        assert [w.app.progress(uuid)["result"] for uuid in uuids] == [200] * 5
        assert all(w.app.get_job(uuid).attempts == 1 for uuid in uuids)


def test_no_file_takes_the_number_of_a_closed_standard_file(tmp_path: Path) -> None:
    """What a library writes to descriptor 2 must not end up in a database."""
    code = (
        "import os; from zerog.cli.logging import keep_streams; keep_streams();"
        "file = os.open('opened', os.O_CREAT | os.O_WRONLY); os.write(file, str(file).encode()); os.write(2, b'oops')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env=environment, preexec_fn=closed, timeout=60, check=True)
    assert int((tmp_path / "opened").read_text()) > 2


def test_a_pipe_that_breaks_while_the_worker_runs_changes_nothing(tmp_path: Path) -> None:
    """The reader of the log is gone; jobs run on and the worker still reacts to signals."""
    with Workers(tmp_path, module=MODULE) as w:
        command = [sys.executable, "-m", "zerog", "worker", f"{MODULE}:app"]
        worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        w.running.append(worker)
        assert worker.stdout is not None
        assert b" runs default" in worker.stdout.readline()
        worker.stdout.close()
        w.app.submit_many("talking", [{"password": CANARY}] * 3)
        assert w.until_ended(3)["succeeded"] == 3
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
