"""The same application file on one server after the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.backends.rq.queues import real_url
from tests.marks import wide
from tests.programs import python

FOLDER = (Path(__file__).parents[2] / "examples/engines/primes.py").parent


@pytest.mark.parametrize("engine", ["sqlite", *wide("redis", "rq", "rq with RQ's worker")])
def test_engines(engine: str, tmp_path: Path) -> None:
    server = real_url() if engine != "sqlite" else ""
    url = {"sqlite": f"sqlite:///{tmp_path}/primes.db", "redis": server}.get(engine, f"rq+{server}")
    environment = {**os.environ, "ZEROG_URL": url, "ZEROG_APP": "primes:app"}

    def run(*command: str) -> str:
        ended = python().run("-m", *command, folder=FOLDER, environment=environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    uuid = run("zerog", "submit", "primes:app", "count_primes", "limit=100").strip()
    if engine.startswith("rq with"):
        run("rq.cli", "worker", "--url", server, "-w", "zerog.rqworker.ZerogWorker", "--burst")
    else:
        run("zerog", "worker", "primes:app", "--burst")
    progress = json.loads(run("zerog", "progress", "primes:app", uuid))
    assert (progress["status"], progress["completeness"]) == ("succeeded", 1.0)
