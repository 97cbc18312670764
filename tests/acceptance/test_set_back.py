"""A store set back under load: every job that is then pending or running ends. Real processes and servers."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers
from tests.backends.redis.servers import started
from tests.processes import stretched
from zerog.records.job import TERMINAL

LEASE = 5
"""The lease of the workers, in seconds."""


class SqliteStore:
    """A file, copied and restored by SQLite's own backup, as docs/adapters.md documents it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/jobs.db"
        self._file, self._copy = folder / "jobs.db", folder / "copy.db"

    def note(self) -> None:
        """Back up the current state."""
        with closing(sqlite3.connect(self._file)) as live, closing(sqlite3.connect(self._copy)) as copy:
            live.backup(copy)

    def set_back(self) -> None:
        """Restore the backup for all clients."""
        with closing(sqlite3.connect(self._copy)) as copy, closing(sqlite3.connect(self._file, timeout=60)) as live:
            copy.backup(live)


class RedisStore:
    """A server that dies and restarts with an older dump, as a replica that lagged when it was promoted."""

    def __init__(self) -> None:
        self._server = started("valkey", "--dbfilename", "dump.rdb")
        self.url = self._server.url()

    def note(self) -> None:
        """Back up the current state."""
        import redis

        with closing(redis.Redis(port=self._server.port)) as client:
            client.save()
        shutil.copy(self._server.folder / "dump.rdb", self._server.folder / "then.rdb")

    def set_back(self) -> None:
        """Restore the backup for all clients."""
        self._server.kill()
        shutil.copy(self._server.folder / "then.rdb", self._server.folder / "dump.rdb")
        self._server.start()


@contextmanager
def loaded(w: Workers, pace: float) -> Iterator[Callable[[float], None]]:
    """Workers, and a function that submits jobs of about a second for some time."""
    for _ in range(2):
        w.start("--concurrency", "8", "--lease", str(LEASE))

    def load(seconds: float) -> None:
        deadline = time.monotonic() + stretched(seconds)
        while time.monotonic() < deadline:
            w.app.submit("steps", {"steps": 10, "seconds": 0.1})
            time.sleep(pace)  # the load under test

    yield load


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_all_jobs_of_a_store_that_was_set_back_end(kind: str, tmp_path: Path, capsys: Any) -> None:
    """Ten seconds are gone from the store, under 20 jobs a second: each document that is there then has its end."""
    store = SqliteStore(tmp_path) if kind == "sqlite" else RedisStore()
    with Workers(tmp_path, url=store.url) as w, loaded(w, 0.05) as load:
        load(5)
        store.note()
        load(10)
        store.set_back()
        began = time.monotonic()
        there = w.until(lambda: list(w.app.jobs()), 30)
        assert {job["status"] for job in there} - set(TERMINAL), "nothing waited or ran"
        w.until(lambda: all(w.app.progress(job["uuid"])["status"] in TERMINAL for job in there), 120)
        took = time.monotonic() - began
        books = [w.app.progress(job["uuid"]) for job in there]
        assert {book["status"] for book in books} == {"succeeded"}, w.log.read_text()[-4000:]
        assert all(worker.poll() is None for worker in w.running), "no worker ended for that"
        after = w.app.submit("steps", {"steps": 1}).uuid
        assert w.app.wait(after, 30).status == "succeeded"
    with capsys.disabled():
        print(f"\n{kind}: {len(there)} jobs, all ended {took:.1f} s after the store was set back")
