"""A worker's environment with URLs is its own: programs that its jobs start don't get them unless that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.cli.builders import zerog_command
from tests.marks import wide
from zerog.records.job import make_key

APP = """
import os, subprocess, sys
import zerog

app = zerog.App()

@app.job("start")
def start(job: zerog.BaseJob):
    names = "import os; print(sorted(name for name in os.environ if name.startswith('ZEROG_')))"
    other = zerog.App()  # as a module does that the job imports
    printed = subprocess.check_output([sys.executable, "-c", names], text=True)
    return {"names": printed, "sees": other.progress(job.uuid)["uuid"]}
"""


@pytest.mark.parametrize("options", ["", *wide("--executor process", "--processes 2")])
@pytest.mark.parametrize("passed", [False, True])
def test_programs_that_a_job_starts_get_no_urls(options: str, passed: bool, tmp_path: Path) -> None:
    """The job itself can still open its app; with ZEROG_PASS_URL its programs can, too."""
    (tmp_path / "myapp.py").write_text(APP)
    url = f"sqlite:///{tmp_path}/jobs.db"
    environment: dict[str, Any] = {"ZEROG_URL": url, "ZEROG_COUCHBASE_PASSWORD": "hunter2"}
    environment |= {"ZEROG_PASS_URL": "1"} if passed else {}
    uuid = zerog_command("submit", "myapp:app", "start", folder=tmp_path, **environment).stdout.strip()
    ended = zerog_command("worker", "myapp:app", "--burst", *options.split(), folder=tmp_path, **environment)
    assert ended.returncode == 0, ended.stderr
    with zerog.App(url) as app:
        output = app.datastore.read(make_key(uuid))["output"]
    secret = {"ZEROG_URL", "ZEROG_COUCHBASE_PASSWORD"}
    assert output["sees"] == uuid
    assert {name for name in secret if name in output["names"]} == (secret if passed else set())
