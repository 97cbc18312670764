"""``zerog copy`` as a shell sees it, killed in between, and from server to server."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import zerog as package
from tests.backends.mongo.servers import url_for as mongo_url_for
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import shared
from tests.cli.builders import Shop, WordCount, without_app
from tests.cli.conftest import Zerog
from tests.cli.terminal import in_terminal, plain
from tests.maintenance.copies import RUNS, Count, app_on, documents
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.urls import open_datastore

HERE, THERE = "sqlite:///jobs.db", "sqlite:///moved.db"


def test_a_copy_is_announced_made_and_repeated(shop: Shop, zerog: Zerog) -> None:
    for _ in range(3):
        shop.submitted()
    shop.app.cancel(shop.submitted())
    dry = zerog("copy", "--from", HERE, "--to", THERE, "--dry-run")
    assert (dry.exit_code, dry.stdout) == (
        0,
        f"4 jobs would be copied from {HERE} to {THERE}: 3 queued, 1 cancelled.\n",
    )
    done = zerog("copy", "--from", HERE, "--to", THERE)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"4 jobs at {HERE}: 3 queued, 1 cancelled.", "4 jobs copied."]
    assert lines[2].startswith("Verified: 4 jobs the same at both places, SHA-256 ")
    assert lines[3] == f"Done. No worker claims at {HERE} any more; start those at {THERE}."
    again = json.loads(zerog("copy", "--from", HERE, "--to", THERE, "--json").stdout)
    assert (again["results"], again["finished"], again["verified"]) == ({"same": 4}, True, 4)
    paused = zerog("queues", "ls", "myapp:app").stdout
    assert f"by zerog copy: copied to {THERE}" in paused
    assert zerog("queues", "resume", "myapp:app", "*").stdout == "All queues are served again.\n"


def test_all_queues_are_paused_by_a_star(shop: Shop, zerog: Zerog) -> None:
    shop.submitted(queue="new")
    assert zerog("queues", "pause", "myapp:app", "*", "--reason", "the move").stdout == "All queues are paused.\n"
    assert "All queues were paused already" in zerog("queues", "pause", "myapp:app", "*").stdout
    queues = [json.loads(line) for line in zerog("queues", "ls", "myapp:app", "--json").stdout.splitlines()]
    assert {queue["name"]: queue["paused"]["reason"] for queue in queues} == {"default": "the move", "new": "the move"}
    assert 'zerog queues resume myapp:app "*"' in zerog("doctor", "myapp:app").stdout.replace("'", '"')
    zerog("queues", "pause", "myapp:app", "new")
    assert zerog("queues", "resume", "myapp:app", "*").stdout == "All queues are served again, but for new.\n"
    assert zerog("queues", "resume", "myapp:app", "*").stdout == "All queues were not paused.\n"
    with pytest.raises(package.InvalidValue, match=r"queue='\*'"):
        shop.submitted(queue="*")


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ([], 2, "Missing option '--from'"),
        (["--from", HERE, "--to", "nowhere"], 2, "'nowhere' names no datastore"),
        (["--from", HERE, "--to", "memory://"], 2, "memory:// is in the memory of one process"),
        (["--from", HERE, "--to", HERE], 1, "are the same place"),
        (["--from", "redis://ann:s3cret@localhost:1/0", "--to", HERE], 1, "redis://localhost:1/0 can't be reached"),
        (["--from", HERE, "--to", "postgresql://ann:s3cret@localhost:1/x"], 1, "postgresql://localhost:1/x"),
    ],
    ids=str,
)
def test_wrong_calls_end_in_one_line(shop: Shop, zerog: Zerog, options: list[str], code: int, reason: str) -> None:
    result = zerog("copy", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr
    assert "s3cret" not in result.stderr
    assert len(result.stderr.splitlines()) <= 4


def test_a_running_job_is_named(shop: Shop, zerog: Zerog) -> None:
    uuid = shop.running()
    result = zerog("copy", "--from", HERE, "--to", THERE, "--dry-run")
    assert result.exit_code == 1
    assert "alice (running) is alive" in result.stderr or uuid in result.stderr


def test_bars_on_a_terminal(shop: Shop) -> None:
    shop.submitted()
    drawn = in_terminal(shop.folder, 80, "copy", "--from", HERE, "--to", THERE)
    lines = [plain(re.sub(r"\x1b\[\?25[hl]", "", line)) for line in drawn]
    assert lines[-5].startswith("1 job at ")
    assert "compared" in "".join(lines[:-5])
    assert lines[-6].endswith(" 1/1")
    assert max(map(len, lines[-5:])) <= 80


KILLED = """
import os, signal, sys
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.cli.main import main

create, made = SqliteDatastore.create, []

def killing(self, key, value):
    made.append(key)
    if len(made) == {left}:
        os.kill(os.getpid(), signal.SIGKILL)
    return create(self, key, value)

SqliteDatastore.create = killing
sys.argv = ["zerog", "copy", "--from", "sqlite:///jobs.db", "--to", "sqlite:///moved.db"]
main()
"""


def test_a_killed_copy_goes_on(shop: Shop, zerog: Zerog) -> None:
    """Whatever it had stored; then every job is there once."""
    uuids = {shop.submitted() for _ in range(30)}
    for left in (2, 9, 5):
        command = [sys.executable, "-c", KILLED.format(left=left)]
        killed = subprocess.run(command, cwd=shop.folder, env=without_app(), capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = json.loads(zerog("copy", "--from", HERE, "--to", THERE, "--json").stdout)
    assert (result["finished"], result["verified"], sum(result["results"].values())) == (True, 30, 30)
    assert 0 < result["results"]["same"] < 30
    moved = SqliteDatastore(shop.folder / "moved.db")
    assert {job["uuid"] for job in documents(moved).values()} == uuids
    moved.close()
    assert WordCount.JOB_TYPE == "word_count"


@pytest.mark.slow
def test_from_server_to_server(shop: Shop, zerog: Zerog, tmp_path: Path) -> None:
    """From SQLite to Redis, PostgreSQL and MongoDB, with work at each: everything ends, and nothing runs twice."""
    folders = [tmp_path / name for name in ("redis", "postgres", "mongo")]
    for folder in folders:
        folder.mkdir()
    urls = [
        f"sqlite:///{tmp_path}/first.db",
        shared("valkey").url(),
        postgres_url_for(folders[1]),
        mongo_url_for(folders[2]),
    ]
    RUNS.clear()
    first = app_on(open_datastore(urls[0]))
    uuids = [first.submit(Count).uuid for _ in range(150)]
    first.close()
    for before, after in itertools.pairwise(urls):
        result = json.loads(zerog("copy", "--from", before, "--to", after, "--json").stdout)
        assert (result["finished"], result["verified"]) == (True, 150)
        for url in (before, after):
            app = app_on(open_datastore(url))
            app.reconcile()
            known = len(RUNS)
            package.Worker(app, max_jobs=None if after == urls[-1] else 40).run(burst=True)
            assert bool(len(RUNS) > known) is (url == after)
            app.close()
    assert sorted(RUNS) == sorted(uuids)
    last = open_datastore(urls[-1])
    assert {job["status"] for job in documents(last).values()} == {"succeeded"}
    last.close()
