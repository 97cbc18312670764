"""Others that hold the lock of an SQLite file, and what is said of them."""

from __future__ import annotations

import os
import signal

import pytest

from tests.processes import program, until
from zerog.datastores.sqlite import SqliteDatastore
from zerog.exceptions import DatastoreUnavailable
from zerog.lockholder import lock_holder

KEY = "zerog_job_a"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


HOLD = """
    import os, signal, sys
    from zerog.sqlitefile import SqliteFile

    file = SqliteFile(sys.argv[1])
    with file.writing():
        print("writing", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
"""

HOLD_WITHOUT_LOCK_FILE = """
    import sqlite3, sys

    sqlite = sqlite3.connect(sys.argv[1], isolation_level=None)
    sqlite.execute("BEGIN IMMEDIATE")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("zerog.sqliteconnection.WARN_SECONDS", 0.05)
    monkeypatch.setattr("zerog.sqliteconnection.BUSY_SECONDS", 0.5)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux tells who holds a lock")
def test_a_stopped_writer_is_named(path, impatient, caplog) -> None:
    """Who waits for a process that was stopped in the middle of a transaction says for whom, then gives up by name."""
    SqliteDatastore(path).close()
    with program(HOLD, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        until(lambda: "(stopped)" in lock_holder(f"{path}-shm"))
        with pytest.raises(DatastoreUnavailable, match=rf"process {holder.pid} \(stopped\)"):
            SqliteDatastore(path).create(KEY, {})
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1 and f"process {holder.pid} (stopped)" in told[0] and str(path) in told[0]
        holder.send_signal(signal.SIGCONT)
        holder.wait(30)
    assert SqliteDatastore(path).create(KEY, {})


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux tells who holds a lock")
def test_a_writer_that_ignores_the_lock_file_is_named(path, impatient) -> None:
    """Another program in the middle of a transaction of its own."""
    SqliteDatastore(path).close()
    with program(HOLD_WITHOUT_LOCK_FILE, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        with pytest.raises(DatastoreUnavailable, match=f"locked by process {holder.pid} "):
            SqliteDatastore(path).create(KEY, {})
    assert SqliteDatastore(path).create(KEY, {})


def test_a_holder_that_nobody_tells(path, monkeypatch) -> None:
    """No file, no lock, no /proc: it is just somebody."""
    assert lock_holder(str(path)) == "another process"
    monkeypatch.setattr("zerog.lockholder.LOCKS", str(path))
    assert lock_holder(str(path)) == "another process"
