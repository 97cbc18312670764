"""A worker whose output is not read, or was closed by a job. Real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import zerog
from tests.acceptance.harness import ROOT, Workers
from tests.processes import stretched

APP = """
import logging
import sys
import zerog

class Talks(zerog.BaseJob):
    JOB_TYPE = "talks"

    def run(self):
        for _ in range(3000):
            logging.getLogger("mine").info("x" * 100)
            print("y" * 100, file=sys.stderr)
        return 200

class Closes(zerog.BaseJob):
    JOB_TYPE = "closes"

    def run(self):
        sys.stdout.close()
        sys.stderr.close()
        return 200

class Fails(zerog.BaseJob):
    JOB_TYPE = "fails"
    MAX_ERRORS = 1

    def run(self):
        raise ValueError("recorded after all")

app = zerog.App()
app.register(Talks, Closes, Fails)
"""


@pytest.fixture
def w(tmp_path: Path) -> Workers:
    (tmp_path / "talking.py").write_text(APP)
    w = Workers(tmp_path, module=None)
    for kind in ("talks", "closes", "fails"):
        w.app.register(type(kind, (zerog.BaseJob,), {"JOB_TYPE": kind, "run": lambda self: 200}))
    return w


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_worker_whose_log_is_not_read_continues_and_ends(kind: str, w: Workers, tmp_path: Path) -> None:
    """Records are lost, no job is blocked, SIGTERM is obeyed; once there is a reader again, the loss is logged."""
    with w:
        if kind == "pipe":
            reading, writing = os.pipe()
        else:
            ours, theirs = socket.socketpair()
            reading, writing = ours.detach(), theirs.detach()
        command = [sys.executable, "-m", "zerog", "worker", "talking:app", "--lease", "2", "--concurrency", "2"]
        worker = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "ZEROG_URL": w.url, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=writing,
        )
        w.running.append(worker)
        os.close(writing)
        uuids = [w.app.submit(how).uuid for how in ("talks", "talks", "fails")]
        assert [w.app.wait(uuid, 30).status for uuid in uuids] == ["succeeded", "succeeded", "failed"]
        recorded: list[bytes] = []

        def read() -> None:
            while data := os.read(reading, 65_536):
                recorded.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        uuid = w.app.submit("fails").uuid
        assert w.app.wait(uuid, 30).lost == 0
        worker.terminate()
        assert worker.wait(stretched(15)) == 0
        reader.join(stretched(10))
        os.close(reading)
        assert b"bytes of output were lost" in b"".join(recorded)


def test_the_log_continues_after_a_job_closed_its_streams(w: Workers, tmp_path: Path) -> None:
    with w:
        w.start(code=tmp_path / "talking.py")
        for kind in ("closes", "fails"):
            w.app.wait(w.app.submit(kind).uuid, 30)
        w.until(lambda: "recorded after all" in w.log.read_text())
