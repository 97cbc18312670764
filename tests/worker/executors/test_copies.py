"""A child process is a copy: what its parent has buffered or seeded is not written or drawn again by each child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import zerog

SOURCE = """
import logging, logging.handlers, os, time
import numpy
import zerog

print("at import", end="|")
numpy.random.rand(3)
app = zerog.App("sqlite:///jobs.db?synchronous=normal")
memory = logging.handlers.MemoryHandler(100, target=logging.FileHandler("buffered.log"))
logging.getLogger("mine").addHandler(memory)

@app.job
def draws(job):
    print(".", end="")
    logging.getLogger("mine").warning("from %s", job.uuid)
    open(f"begun-{os.getpid()}", "w").close()
    while len([name for name in os.listdir() if name.startswith("begun-")]) < 3:
        time.sleep(0.01)
    return {"drawn": float(numpy.random.rand()), "pid": os.getpid()}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "copied.py").write_text(SOURCE)
    return tmp_path


def test_children_are_no_echo_of_their_parent(folder: Path) -> None:
    """Text without a newline at import is printed once; numpy's numbers differ; buffered log records are written."""
    run = {"cwd": folder, "capture_output": True, "text": True, "timeout": 100, "check": True}
    script = "import copied; print([copied.app.submit('draws').uuid for _ in range(3)])"
    subprocess.run([sys.executable, "-c", script], **run)  # type: ignore[call-overload]
    command = ["-m", "zerog", "worker", "copied:app", "--executor", "process", "--concurrency", "3", "--burst"]
    done = subprocess.run([sys.executable, *command], **run)  # type: ignore[call-overload]
    app = zerog.App(f"sqlite:///{folder}/jobs.db")
    app.job("draws")(lambda job: None)
    drawn = [app.get_job(job["uuid"]).output for job in app.jobs()]
    app.close()
    assert len({output["pid"] for output in drawn}) == len({output["drawn"] for output in drawn}) == 3
    assert done.stdout.count("at import") == 1
    assert done.stdout.count(".") == 3
    assert (folder / "buffered.log").read_text().count("from ") == 3
