"""The SQLite file under documents and queues: making it, locks, commits that fail, processes, forks."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import output, program, until
from zerog.datastores.operations import Add
from zerog.datastores.sqlite import SqliteDatastore
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable
from zerog.lockholder import lock_holder

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


# The file.


def test_nobody_else_may_read_it(datastore, path) -> None:
    datastore.create(KEY, {"a": 1})
    files = sorted(path.parent.iterdir())
    assert len(files) == 4  # the database, its log, its shared memory, the lock
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_it_is_in_wal_mode_with_the_setting_asked_for(path, synchronous: str) -> None:
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
    """It is not made anew, empty, behind the back of those who have their jobs in it; once it is back, all goes on."""
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
    """No descriptor is free, a mount is away or read-only: an outage, and no fault of whoever started the program."""
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
    path.write_text("These are my notes, which nobody should overwrite. " * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        SqliteDatastore(path)
    assert path.read_bytes() == before


@pytest.fixture
def open_folder():
    """A folder that every user may use; that of ``tmp_path`` is closed to others."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
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
        from zerog.datastores.operations import Set
        from zerog.datastores.sqlite import SqliteDatastore
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
        from zerog.datastores.sqlite import SqliteDatastore
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


class Failing:
    """A connection whose COMMIT fails."""

    in_transaction = False

    def __init__(self, errorname: str) -> None:
        self.error = sqlite3.OperationalError("disk I/O error")
        self.error.sqlite_errorname = errorname

    def execute(self, statement: str) -> None:
        assert statement == "COMMIT"
        raise self.error

    def rollback(self) -> None:
        pass


@pytest.mark.parametrize(
    ("errorname", "expected"),
    [
        ("SQLITE_FULL", DatastoreUnavailable),
        ("SQLITE_BUSY", DatastoreUnavailable),
        ("SQLITE_IOERR_WRITE", DatastoreUnavailable),
        ("SQLITE_IOERR_FSYNC", AmbiguousWrite),
    ],
)
def test_failed_commit(datastore, errorname: str, expected: type[Exception]) -> None:
    """After a failed fsync nobody knows; after a failed write the commit can't have happened."""
    connection = type("Connection", (), {"sqlite": Failing(errorname), "pid": os.getpid()})()
    with pytest.raises(expected, match=r"jobs\.db"), datastore.file._translated():
        datastore.file._commit(connection)


# Processes.


def test_processes_racing(path) -> None:
    """Four processes of eight threads change one document: all sums and entries are there, in each thread's order."""
    rounds = 6
    datastore = SqliteDatastore(path, "normal")
    datastore.create("zerog_job_a", {"n": 0, "attempts": 0, "events": []})
    source = """
        import sys, threading
        from zerog.datastores.operations import Add, Append
        from zerog.datastores.sqlite import SqliteDatastore

        datastore = SqliteDatastore(sys.argv[1], "normal")
        print("ready", flush=True)
        sys.stdin.readline()

        def work(thread):
            for n in range(int(sys.argv[3])):
                event = [sys.argv[2], thread, n]
                datastore.mutate("zerog_job_a", [Add("n", 1), Add("attempts", 1), Append("events", event)])

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    run_together(source, path, rounds)
    document = datastore.read("zerog_job_a")
    assert document is not None
    assert document["n"] == document["attempts"] == len(document["events"]) == 4 * 8 * rounds
    for name in "abcd":
        for thread in range(8):
            entries = [n for by, of, n in document["events"] if (by, of) == (name, thread)]
            assert entries == list(range(rounds))
    datastore.close()


def test_processes_repeating_run_writes(path) -> None:
    """Four processes of eight threads send the same numbered writes: each is applied once."""
    datastore = SqliteDatastore(path, "normal")
    datastore.create("zerog_job_b", {"epoch": 1, "seq": 0, "owner": {}, "n": 0, "events": []})
    source = """
        import sys, threading
        from zerog.datastores.operations import Add, Append
        from zerog.datastores.sqlite import SqliteDatastore
        from zerog.exceptions import InvalidValue

        datastore = SqliteDatastore(sys.argv[1], "normal")
        print("ready", flush=True)
        sys.stdin.readline()

        def work():
            for seq in range(1, int(sys.argv[3]) + 1):
                try:
                    datastore.mutate("zerog_job_b", [Add("n", 1), Append("events", seq)], epoch=1, seq=seq)
                except InvalidValue:
                    pass  # the others are further on

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    run_together(source, path, 10)
    assert datastore.read("zerog_job_b") == {
        "epoch": 1,
        "seq": 10,
        "owner": {},
        "n": 10,
        "events": list(range(1, 11)),
    }
    datastore.close()


def run_together(source: str, path, rounds: int) -> None:
    with (
        program(source, path, "a", rounds) as a,
        program(source, path, "b", rounds) as b,
        program(source, path, "c", rounds) as c,
        program(source, path, "d", rounds) as d,
    ):
        for process in (a, b, c, d):
            assert process.stdout.readline() == "ready\n"
        for process in (a, b, c, d):
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in (a, b, c, d):
            assert process.wait(60) == 0


def test_forked_child(path) -> None:
    """What a child writes stays written when its parent and everybody else have closed the file.

    Without a lock of the child's own, the last of them would take the log away under it.
    """
    source = """
        import os, sys
        from zerog.datastores.operations import Add
        from zerog.datastores.sqlite import SqliteDatastore

        datastore = SqliteDatastore(sys.argv[1], "normal")
        datastore.create("zerog_job_a", {"n": 0})
        ours, theirs = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            datastore.mutate("zerog_job_a", [Add("n", 1)])
            os.write(ours[1], b"1")
            os.read(theirs[0], 1)
            datastore.mutate("zerog_job_a", [Add("n", 1)])
            os.write(ours[1], b"2")
            os._exit(0)
        os.read(ours[0], 1)
        datastore.mutate("zerog_job_a", [Add("n", 1)])
        datastore.close()
        SqliteDatastore(sys.argv[1]).mutate("zerog_job_a", [Add("n", 1)])
        os.write(theirs[1], b"1")
        os.read(ours[0], 1)
        print(SqliteDatastore(sys.argv[1]).read("zerog_job_a")["n"], flush=True)
        os.waitpid(child, 0)
    """
    assert output(source, path) == "4"


def test_forked_while_others_write(path) -> None:
    """Forking while other threads of the parent write does harm to neither."""
    source = """
        import os, sys, threading
        from zerog.datastores.operations import Add
        from zerog.datastores.sqlite import SqliteDatastore

        datastore = SqliteDatastore(sys.argv[1], "normal")
        datastore.create("zerog_job_a", {"n": 0})
        stop = threading.Event()
        written = [0, 0, 0]

        def write(thread):
            while not stop.is_set():
                datastore.mutate("zerog_job_a", [Add("n", 1)])
                written[thread] += 1

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
        for thread in threads: thread.start()
        children = []
        for _ in range(5):
            children.append(os.fork())
            if children[-1] == 0:
                datastore.mutate("zerog_job_a", [Add("n", 1)])
                os._exit(0)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        stop.set()
        for thread in threads: thread.join()
        print(statuses == [0] * 5, datastore.read("zerog_job_a")["n"] - sum(written))
    """
    assert output(source, path) == "True 5"


def test_threads_that_ended_leave_nothing_open(path) -> None:
    """A web server with a thread for each request doesn't run out of descriptors."""
    source = """
        import os, sys, threading
        from zerog.datastores.operations import Add
        from zerog.datastores.sqlite import SqliteDatastore

        datastore = SqliteDatastore(sys.argv[1], "normal")
        datastore.create("zerog_job_a", {"n": 0})
        before = len(os.listdir("/dev/fd"))
        for _ in range(20):
            thread = threading.Thread(target=datastore.mutate, args=("zerog_job_a", [Add("n", 1)]))
            thread.start()
            thread.join()
        print(datastore.read("zerog_job_a")["n"], len(os.listdir("/dev/fd")) - before)
    """
    written, left = map(int, output(source, path).split())
    assert written == 20
    assert left <= 2  # SQLite keeps a closed file's descriptor to use it again


def test_child_does_not_hold_the_lock_of_a_killed_parent(path) -> None:
    """A parent killed in the middle of a write does not lock everybody out for as long as its children live."""
    source = """
        import os, sys, threading
        from zerog.datastores.sqlite import SqliteDatastore
        import zerog.sqlitefile

        zerog.sqlitefile.FORK_SECONDS = 0.1
        datastore = SqliteDatastore(sys.argv[1])
        writing, never = threading.Event(), threading.Event()

        def write():
            with datastore.file.writing():
                writing.set()
                never.wait()

        threading.Thread(target=write, daemon=True).start()
        writing.wait()
        if os.fork() == 0:
            print("ready", flush=True)
            sys.stdin.readline()
            os._exit(0)
        never.wait()
    """
    with program(source, path) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        parent.wait(30)
        output(
            "import sys; import zerog.sqlitefile as f; f.BUSY_SECONDS = 5;"
            "f.SqliteFile(sys.argv[1]).require('CREATE TABLE IF NOT EXISTS x (y)')",
            path,
        )


def test_killed_while_writing(path) -> None:
    """A process killed while it writes leaves a readable file with every write that it was told is done."""
    source = """
        import sys
        from zerog.datastores.operations import Append, Set
        from zerog.datastores.sqlite import SqliteDatastore

        datastore = SqliteDatastore(sys.argv[1])
        datastore.create("zerog_job_a", {"n": 0, "status": "0", "events": []})
        n = 0
        while True:
            n += 1
            datastore.mutate("zerog_job_a", [Set("n", n), Set("status", str(n)), Append("events", n)])
            print(n, flush=True)
    """
    with program(source, path) as writer:
        for _ in range(50):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
    datastore = SqliteDatastore(path)
    document = datastore.read(KEY)
    assert document is not None
    assert document["n"] in (acknowledged, acknowledged + 1)
    assert document["events"] == list(range(1, document["n"] + 1))
    assert int(document["status"]) == document["n"]
    with datastore.file.reading() as sqlite:
        assert sqlite.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    datastore.mutate(KEY, [Add("n", 1)])
    datastore.close()


# Others that hold a lock.

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
    monkeypatch.setattr("zerog.sqlitefile.TELL_SECONDS", 0.05)
    monkeypatch.setattr("zerog.sqlitefile.BUSY_SECONDS", 0.5)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux tells who holds a lock")
def test_a_stopped_writer_is_named(path, impatient, caplog) -> None:
    """Who waits for a process that was stopped in the middle of a transaction says for whom, then gives up by name."""
    SqliteDatastore(path).close()
    with program(HOLD, path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        until(lambda: "(stopped)" in lock_holder(f"{path}-lock"))
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
        with pytest.raises(DatastoreUnavailable, match=f"locked by process {holder.pid}; nothing was written"):
            SqliteDatastore(path).create(KEY, {})
    assert SqliteDatastore(path).create(KEY, {})


def test_a_holder_that_nobody_tells(path, monkeypatch) -> None:
    """No file, no lock, no /proc: it is just somebody."""
    assert lock_holder(str(path)) == "another process"
    monkeypatch.setattr("zerog.lockholder.LOCKS", str(path))
    assert lock_holder(str(path)) == "another process"
