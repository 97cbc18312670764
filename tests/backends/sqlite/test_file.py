"""The SQLite file under documents and queues: creation, settings, damage, commits that fail."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import output, program
from zerog.backends.sqlite.connection import Connection
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.file import SqliteFile
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable

KEY = "zerog_job_a"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def datastore(path):
    datastore = SqliteDatastore(path)
    yield datastore
    datastore.close()


def raw(path, statement: str, *parameters: object) -> None:
    """Write into the file behind ZeroG's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as sqlite:
        sqlite.execute(statement, parameters)


def test_no_other_user_may_read_it(datastore, path) -> None:
    datastore.create(KEY, {"a": 1})
    files = sorted(path.parent.iterdir())
    assert len(files) == 3  # the database, its log, its shared memory
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_it_is_in_wal_mode_with_the_given_setting(path, synchronous: str) -> None:
    datastore = SqliteDatastore(path, synchronous)
    with datastore.file.reading() as sqlite:
        assert sqlite.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert sqlite.execute("PRAGMA synchronous").fetchone()[0] == {"full": 2, "normal": 1}[synchronous]
    assert datastore.durability == {"full": "fsync", "normal": "process"}[synchronous]
    datastore.close()


def test_unknown_setting(path) -> None:
    with pytest.raises(ConfigurationError, match="synchronous='off'; expected full or normal"):
        SqliteDatastore(path, "off")
    assert not path.exists()


def test_missing_folder(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"folder .*nowhere for jobs.db does not exist"):
        SqliteDatastore(tmp_path / "nowhere" / "jobs.db")


def test_folder_instead_of_file(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"):
        SqliteDatastore(tmp_path)


def test_a_file_that_went_away(path) -> None:
    """It is not silently made anew, empty, while jobs are in the old one; once it is back, everything works."""
    datastore = SqliteDatastore(path)
    datastore.create(KEY, {"n": 1})
    datastore.close()
    for aside in (path.with_suffix(".aside"), path.parent.with_name("aside")):
        moved = path if aside.suffix else path.parent
        moved.rename(aside)
        with pytest.raises(DatastoreUnavailable, match=r"jobs\.db was there and is gone"):
            datastore.read(KEY)
        aside.rename(moved)
        assert datastore.read(KEY) == {"n": 1}
        datastore.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [("SQLITE_CANTOPEN", "can't be opened"), ("SQLITE_READONLY_DBMOVED", "read-only"), ("SQLITE_NOTADB", "no")],
)
def test_what_worked_once_may_work_again(datastore, path, name: str, text: str) -> None:
    """No descriptor is free, a mount is away or read-only: an outage, not a fault of the program's user."""
    error = sqlite3.OperationalError("made up")
    error.sqlite_errorname = name
    datastore.create(KEY, {"n": 1})
    with pytest.raises(DatastoreUnavailable, match=text), datastore.file.reading():
        raise error
    datastore.file._was_there = datastore.file._was_writable = False
    with pytest.raises(ConfigurationError, match=text), datastore.file.reading():
        raise error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM, errno.EMFILE])
def test_errors_of_the_system_are_an_outage_once_the_file_was_written(datastore, number: int) -> None:
    datastore.create(KEY, {"n": 1})
    with pytest.raises(DatastoreUnavailable, match=r"jobs\.db"), datastore.file.writing():
        raise OSError(number, "made up")


def test_no_database(path) -> None:
    path.write_text("These are my notes, never to be overwritten. " * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        SqliteDatastore(path)
    assert path.read_bytes() == before


@pytest.fixture
def open_folder():
    """A folder that every user may use; that of ``tmp_path`` is closed to other users."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_file_that_may_not_be_written(open_folder, mode: int) -> None:
    """A file that this user may not write is named at the start, and stays as it is."""
    path = open_folder / "jobs.db"
    datastore = SqliteDatastore(path)
    datastore.create(KEY, {"a": 1})
    datastore.close()
    path.chmod(mode)
    source = """
        import os, sys
        from zerog.records.operations import Set
        from zerog.backends.sqlite.datastore import SqliteDatastore
        from zerog.exceptions import ConfigurationError
        os.setuid(65534)
        try:
            SqliteDatastore(sys.argv[1]).mutate("zerog_job_a", [Set("a", 2)])
        except ConfigurationError as error:
            print(error)
    """
    assert str(path) in output(source, path)
    datastore = SqliteDatastore(path)
    assert datastore.read(KEY) == {"a": 1}
    datastore.close()


def test_two_handles_opened_at_once(path) -> None:
    source = """
        import sys
        from zerog.backends.sqlite.datastore import SqliteDatastore
        print("ready", flush=True)
        sys.stdin.readline()
        SqliteDatastore(sys.argv[1]).create(sys.argv[2], {})
    """
    with program(source, path, "a") as one, program(source, path, "b") as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(30) for process in (one, two)] == [0, 0]
    datastore = SqliteDatastore(path)
    assert datastore.read("a") == datastore.read("b") == {}
    datastore.close()


def test_a_file_that_another_process_locks_while_it_is_opened_is_waited_for(
    path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that closes the last connection or restores the log has the file alone for a moment."""
    insist, others = Connection.insist, []

    def slow(self: Connection, statement: str) -> None:
        insist(self, statement)
        if statement == "PRAGMA journal_mode=wal":
            others.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
            others[0].execute("PRAGMA locking_mode=EXCLUSIVE")
            others[0].execute("BEGIN EXCLUSIVE")
            threading.Timer(0.2, others[0].close).start()

    monkeypatch.setattr(Connection, "insist", slow)
    with closing(SqliteDatastore(path)) as datastore:
        datastore.create("a", {})
        assert others and datastore.read("a") == {}


@pytest.mark.parametrize(
    ("errorname", "expected"),
    [
        ("SQLITE_FULL", DatastoreUnavailable),
        ("SQLITE_BUSY", DatastoreUnavailable),
        ("SQLITE_IOERR_WRITE", DatastoreUnavailable),
        ("SQLITE_IOERR_FSYNC", AmbiguousWrite),
    ],
)
def test_failed_commit(path, monkeypatch, errorname: str, expected: type[Exception]) -> None:
    """After a failed fsync the commit may have happened; after a failed write it can't have."""

    class Failing(sqlite3.Connection):
        def __exit__(self, *raised: object) -> None:
            if self.in_transaction:
                self.rollback()
                error = sqlite3.OperationalError("made up")
                error.sqlite_errorname = errorname
                raise error

    datastore = SqliteDatastore(path)
    datastore.close()
    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Failing))
        with pytest.raises(expected, match=r"jobs\.db"):
            datastore.create(KEY, {})
        datastore.close()
    assert datastore.create(KEY, {})
    datastore.close()


@pytest.mark.parametrize("name", ["jobs.db", "jobs.db-wal", "jobs.db-shm"])
def test_another_users_file_in_a_public_folder_is_not_taken_over(name: str, public: Path) -> None:
    """Its jobs would run here; the error names the owner, and the file is as it was."""
    planted = public / name
    planted.write_bytes(b"")
    os.chown(planted, 65534, 65534)
    with pytest.raises(ConfigurationError, match="a file of user 65534"):
        SqliteFile(public / "jobs.db")
    assert planted.read_bytes() == b""


def test_a_database_is_not_made_through_another_users_link(tmp_path: Path, public: Path) -> None:
    (public / "jobs.db").symlink_to(tmp_path / "theirs.db")
    os.lchown(public / "jobs.db", 65534, 65534)
    with pytest.raises(ConfigurationError, match="a link of user 65534"):
        SqliteFile(public / "jobs.db")
    assert not (tmp_path / "theirs.db").exists()


def test_a_public_folder_is_no_obstacle_to_its_user(tmp_path: Path, public: Path) -> None:
    """Own files and own links are used, and so are others' in a folder that not every user can write to."""
    SqliteFile(public / "jobs.db").close()
    (public / "link.db").symlink_to(tmp_path / "mine.db")
    SqliteFile(public / "link.db").close()
    os.chown(tmp_path / "mine.db", 65534, 65534)
    SqliteFile(tmp_path / "mine.db").close()
