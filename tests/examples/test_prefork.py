"""One ``zerog.App`` in a server that forks after it was used, and in its threads."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

import zerog
from tests.examples.servers import Processes
from tests.marks import wide
from tests.servers import free_port

ROWS = json.dumps({"rows": "Ada, 12.50", "pace": 0}).encode()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def serve(processes: Processes, threads: int) -> str:
    """Start gunicorn with two preloaded workers; return its URL. One thread is the very one that was forked."""
    port = free_port()
    options = ["--preload", "--workers=2", f"--threads={threads}", f"--bind=127.0.0.1:{port}", "--no-control-socket"]
    processes.start("-m", "gunicorn", *options, "tests.examples.prefork:app", port=port)
    return f"http://127.0.0.1:{port}/jobs"


def submit(url: str) -> tuple[str, int]:
    """The uuid of a new job, and the pid of the process that accepted it."""
    request = urllib.request.Request(url, ROWS, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["uuid"], int(response.headers["X-Pid"])


def submit_or_not(url: str) -> str | None:
    try:
        return submit(url)[0]
    except (OSError, HTTPException):  # the process died before its answer, or in the middle of it
        return None


def status(url: str, uuid: str) -> str:
    with urllib.request.urlopen(f"{url}/{uuid}", timeout=60) as response:
        return str(json.load(response)["status"])


@pytest.mark.parametrize("threads", [1, *wide(4)])
def test_forked_processes_and_their_threads_share_an_app(threads: int, processes: Processes) -> None:
    url = serve(processes, threads)
    with ThreadPoolExecutor(16) as pool:
        accepted = list(pool.map(submit, [url] * 100))
        assert len({pid for _, pid in accepted}) == 2
        assert len({uuid for uuid, _ in accepted}) == 100
        assert set(pool.map(lambda job: status(url, job[0]), accepted)) == {"queued"}
        worker = processes.start("-m", "zerog", "worker", "jobs:app", "--burst", "--concurrency", "4")
        processes.until(lambda: worker.poll() is not None, "the worker has run all jobs")
        assert set(pool.map(lambda job: status(url, job[0]), accepted)) == {"succeeded"}
    app = zerog.App(processes.url)
    assert sum(1 for _ in app.jobs(status="succeeded")) == 101  # with the parent's
    with app.datastore.file.reading() as sqlite:
        assert sqlite.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    app.close()


def test_a_killed_process_takes_no_accepted_job_with_it(processes: Processes) -> None:
    url = serve(processes, threads=4)
    victim = submit(url)[1]
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(submit_or_not, url) for _ in range(150)]
        answers[50].result()
        os.kill(victim, signal.SIGKILL)  # a worker of the gunicorn that this test started
        accepted = [uuid for answer in answers if (uuid := answer.result()) is not None]
        assert set(pool.map(lambda uuid: status(url, uuid), accepted)) == {"queued"}
    assert len(accepted) > 50
    pids = set()

    def replaced() -> bool:
        pids.add(submit(url)[1])
        return len(pids - {victim}) == 2

    processes.until(replaced, "a new process has taken the place of the killed one")
