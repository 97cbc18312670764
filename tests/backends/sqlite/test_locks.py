"""Processes that have an SQLite file locked: which they are and what ends the lock is named."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import zerog
from tests.maintenance.doctors import doctor_of
from tests.processes import program, until
from tests.worker.builders import Running
from zerog.backends.sqlite.connection import locked
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.locks import lock_owner
from zerog.exceptions import DatastoreUnavailable

KEY = "zerog_job_a"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


HOLD = """
    import os, signal, sys
    from zerog.backends.sqlite.file import SqliteFile

    file = SqliteFile(sys.argv[1])
    with file.writing():
        print("writing", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
"""

HOLD_BY_OTHER_MEANS = """
    import sqlite3, sys

    sqlite = sqlite3.connect(sys.argv[1], isolation_level=None)
    sqlite.execute("BEGIN IMMEDIATE")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("zerog.backends.sqlite.connection.WARN_SECONDS", 0.05)
    monkeypatch.setattr("zerog.backends.sqlite.connection.BUSY_SECONDS", 0.5)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux shows who holds a lock")
def test_a_stopped_writer_is_named(path, impatient, caplog) -> None:
    """A process that was stopped in the middle of a transaction is named by the waiting one, its error, and doctor."""
    SqliteDatastore(path).close()
    app = zerog.App(f"sqlite:///{path}")
    with program(HOLD, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        until(lambda: (found := lock_owner(str(path))) and found.is_stopped)
        named = rf"{path} has been locked by process {holder.pid} \(.*python.*, stopped\).*kill -CONT {holder.pid}"
        for _ in range(2):
            with pytest.raises(DatastoreUnavailable, match=f"(?s){named}"):
                app.datastore.create(KEY, {})
        (logged,) = [record.getMessage() for record in caplog.records]
        assert re.search(named, logged, re.DOTALL)
        diagnosis = doctor_of(app).examine()
        (finding,) = [each for each in diagnosis.findings if f"process {holder.pid}" in each.what]
        assert diagnosis.needs_person and finding.command == f"kill -CONT {holder.pid}"
        assert "written since 2" in finding.what
        holder.send_signal(signal.SIGCONT)
        holder.wait(30)
    assert app.datastore.create(KEY, {})
    assert not doctor_of(app).examine().needs_person
    app.close()


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux shows who holds a lock")
def test_another_program_is_named(path, impatient) -> None:
    """Another program in the middle of its transaction: the error and doctor name it."""
    app = zerog.App(f"sqlite:///{path}")
    with program(HOLD_BY_OTHER_MEANS, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        with pytest.raises(DatastoreUnavailable, match=rf"locked by process {holder.pid} .*: kill {holder.pid}"):
            app.datastore.create(KEY, {})
        findings = doctor_of(app).examine().findings
        assert [each.command for each in findings if each.needs_person] == [f"kill {holder.pid}"]
        assert holder.stdin is not None
        holder.stdin.close()
    assert app.datastore.create(KEY, {})
    app.close()


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux shows who holds a lock")
def test_doctor_names_who_has_a_queues_file_locked(path) -> None:
    app = zerog.App(datastore="memory://", queue=f"sqlite:///{path}")
    with program(HOLD_BY_OTHER_MEANS, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        findings = doctor_of(app).examine().findings
        assert [each.command for each in findings if each.needs_person] == [f"kill {holder.pid}"]
    app.close()


def test_a_lock_of_another_thread_is_no_process_to_be_killed(path, impatient) -> None:
    datastore = SqliteDatastore(path)
    with datastore.file.writing(), ThreadPoolExecutor(1) as pool:
        error = pool.submit(datastore.create, KEY, {}).exception(30)
    assert isinstance(error, DatastoreUnavailable)
    assert "another thread of this process" in str(error) and "kill" not in str(error)
    datastore.close()


def test_a_holder_that_is_not_known(path, monkeypatch) -> None:
    """No file, no lock, no /proc."""
    assert lock_owner(str(path)) is None
    monkeypatch.setattr("zerog.backends.sqlite.locks.LOCKS", str(path))
    assert lock_owner(str(path)) is None
    assert "locked by another process" in locked(str(path))


READ_ON = """
    import sqlite3, sys

    sqlite = sqlite3.connect(sys.argv[1], isolation_level=None)
    sqlite.execute("BEGIN")
    sqlite.execute("SELECT count(*) FROM zerog_documents").fetchone()
    print("reading", flush=True)
    sys.stdin.readline()
"""


def log_size(path) -> int:
    return os.stat(f"{path}-wal").st_size


def test_the_log_shrinks_after_a_long_reader(path, monkeypatch) -> None:
    """While another program reads one state, the log grows, and doctor names the program; afterwards it is cut."""
    monkeypatch.setattr("zerog.backends.sqlite.connection.LOG_LIMIT", 2**20)
    monkeypatch.setattr("zerog.backends.sqlite.troubles.LARGE_LOG", 6 * 2**20)
    app = zerog.App(f"sqlite:///{path}?synchronous=normal")
    text = "x" * 100_000
    with program(READ_ON, path) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
        for n in range(100):
            app.datastore.create(f"zerog_job_{n}", {"text": text})
        assert log_size(path) > 8 * 2**20
        diagnosis = doctor_of(app).examine()
        (finding,) = [each for each in diagnosis.findings if "-wal has grown to" in each.what]
        assert diagnosis.needs_person
        if os.path.exists("/proc/locks"):
            assert f"process {reader.pid} " in finding.what and finding.command == f"kill {reader.pid}"
    for n in range(10):
        app.datastore.create(f"zerog_job_after_{n}", {"text": text})
    assert log_size(path) <= 2 * 2**20
    assert not doctor_of(app).examine().needs_person
    app.close()


def test_a_listing_holds_no_state_while_its_caller_thinks(path) -> None:
    """Other processes can checkpoint the whole log into the database in the middle of a list."""
    app = zerog.App(f"sqlite:///{path}?synchronous=normal")

    @app.job("work")
    def work(job: zerog.BaseJob) -> int:
        return 200

    app.submit_many("work", [{}] * 5)
    listing = iter(app.jobs())
    assert next(listing)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert len(list(listing)) == 4
    app.close()


def test_code_of_a_class_runs_in_no_transaction(path, monkeypatch) -> None:
    """While a migration takes its time, other connections write to the file."""
    began, go = threading.Event(), threading.Event()

    class Old(zerog.BaseJob):
        JOB_TYPE = "moved"

        def run(self) -> int:
            raise AssertionError("it waits for newer code")

    class New(zerog.BaseJob):
        JOB_TYPE = "moved"
        SCHEMA_VERSION = "2.0"

        @zerog.migration("1.0", "2.0")
        def slowly(document):
            began.set()
            assert go.wait(60)
            return document

        def run(self) -> int:
            return 200

    monkeypatch.setattr("zerog.backends.sqlite.connection.BUSY_SECONDS", 0.5)
    old, new = zerog.App(f"sqlite:///{path}"), zerog.App(f"sqlite:///{path}")
    old.register(Old)
    new.register(New)
    first = old.submit("moved").uuid
    with Running(new, concurrency=2):
        assert began.wait(60)
        second = old.submit("moved").uuid
        go.set()
        assert [new.wait(uuid, 60).status for uuid in (first, second)] == ["succeeded", "succeeded"]
    for app in (old, new):
        app.close()
