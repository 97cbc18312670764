"""Users, passwords and commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pymongo.errors
import pytest

import zerog
from tests.backends.mongo.builders import Count, refused
from tests.backends.mongo.servers import RunningServer, started, with_options
from tests.programs import python
from zerog.backends.mongo.datastore import INDEXES, MongoDatastore
from zerog.exceptions import ConfigurationError, DatastoreUnavailable


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningServer]:
    """A server with authentication. ``shop``, password ``hunter2``, may use the database ``jobs``."""
    server = started()
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{server.port}") as client:
        roles = [{"role": "readWrite", "db": "jobs"}]
        client.jobs.command("createUser", "shop", pwd="hunter2", roles=roles)
    server.signal(signal.SIGTERM)
    assert server.process is not None
    server.process.wait(20)
    server.options = ("--auth",)
    server.start()
    yield server
    server.kill()


def guarded_url(server: RunningServer, case: str) -> str:
    """A URL with one mistake."""
    soon = {"serverSelectionTimeoutMS": 500}
    wrong = {
        "no password": server.url("", "jobs", **soon),
        "wrong password": server.url("shop:hunter3@", "jobs", **soon),
        "forbidden database": server.url("shop:hunter2@", "other", authSource="jobs", **soon),
        "no server": with_options("mongodb://shop:hunter2@127.0.0.1:1/jobs", **soon),
        "no host": with_options("mongodb://shop:hunter2@nowhere.invalid/jobs", **soon),
    }
    return wrong[case]


CASES = {
    "no password": r"127\.0\.0\.1:\d+/jobs refuses this user, password or database",
    "wrong password": r"127\.0\.0\.1:\d+/jobs refuses this user, password or database",
    "forbidden database": r"127\.0\.0\.1:\d+/other refuses this user, password or database",
    "no server": r"127\.0\.0\.1:1/jobs can't be reached",
    "no host": r"nowhere\.invalid/jobs: there is no such host",
}


@pytest.mark.parametrize("case", CASES)
def test_a_user_without_permission_is_refused_at_first_use(guarded: RunningServer, case: str) -> None:
    """The error names the server and the reason, and not the password; the next call raises the same one."""
    expected = DatastoreUnavailable if case == "no server" else ConfigurationError
    datastore = MongoDatastore(guarded_url(guarded, case))
    for call in (lambda: datastore.create("key", {}), lambda: datastore.read("key"), lambda: datastore.mutate("k", [])):
        with pytest.raises(expected, match=CASES[case]) as caught:
            call()
        assert "hunter" not in str(caught.value)
    datastore.close()


def test_a_user_with_permission_can_do_everything(guarded: RunningServer) -> None:
    """``readWrite`` on the database is enough."""
    app = zerog.App(datastore=guarded.url("shop:hunter2@", "jobs"), queue="memory://")
    assert len(app.datastore.setup()) == len(INDEXES)
    assert app.datastore.about().startswith("MongoDB")
    app.register(Count)
    job = app.submit(Count, {})
    zerog.Worker(app).run(burst=True)
    assert app.get_job(job.uuid).status == "succeeded"
    assert app.datastore.delete(job.key())
    app.close()


def test_a_password_that_is_taken_away_later_is_an_outage(guarded: RunningServer, monkeypatch: Any) -> None:
    """On a server that accepted it before: workers wait until it is back, instead of ending."""
    datastore = MongoDatastore(guarded.url("shop:hunter2@", "jobs"))
    datastore.create("key", {})
    refused(monkeypatch, pymongo.errors.OperationFailure("Authentication failed", 18))
    with pytest.raises(DatastoreUnavailable, match="refuses this user"):
        datastore.read("key")
    datastore.close()


APP = """
import os
import zerog

app = zerog.App(datastore=os.environ["DOCUMENTS"], queue="sqlite:///queue.db")

@app.job("hello")
def hello(job, text: str = ""):
    pass
"""


def ran(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on an app whose documents are at a URL."""
    (folder / "myapp.py").write_text(APP)
    return python().run("-m", "zerog", *arguments, folder=folder, environment={**os.environ, "DOCUMENTS": url})


@pytest.mark.parametrize(("command", "case"), [*(("doctor", case) for case in CASES), ("worker", "wrong password")])
@pytest.mark.wide
def test_commands_report_trouble_on_one_line(guarded: RunningServer, tmp_path: Path, command: str, case: str) -> None:
    """With the server's name, without the password, and without a traceback."""
    ended = ran(
        tmp_path, guarded_url(guarded, case), command, "myapp:app", *(["--burst"] if command == "worker" else [])
    )
    assert ended.returncode in (1, 2)
    [line] = ended.stderr.splitlines()
    assert re.search(CASES[case], line), line
    assert "hunter" not in ended.stdout + ended.stderr


def test_submit_names_what_is_too_large(guarded: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({"text": "x" * 5_000_000}))
    url = guarded.url("shop:hunter2@", "jobs")
    ended = ran(tmp_path, url, "submit", "myapp:app", "hello", "--json", "params.json")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert re.search(r"takes 5,\d+,\d+ bytes", line), line
