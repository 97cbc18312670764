"""What is peculiar to documents in an SQLite file: the file, its faults, its processes."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import output, program
from zerog.datastores.operations import Add, Append, Set
from zerog.datastores.sqlite import SqliteDatastore
from zerog.exceptions import AmbiguousWrite, ConfigurationError, CorruptDocument, DatastoreUnavailable

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


# A full disk.

FILL = """
    import resource, signal, sys
    from zerog.datastores.operations import Append, Set
    from zerog.datastores.sqlite import SqliteDatastore
    from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    datastore = SqliteDatastore(sys.argv[1])
    datastore.create("zerog_job_a", {"n": 0, "status": "new", "events": []})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit[1]))
    done = 0
    try:
        while done < 1_000:
            text = str(done) * 2_000
            datastore.mutate("zerog_job_a", [Set("n", done + 1), Set("status", str(done + 1)), Append("events", text)])
            done += 1
    except (DatastoreUnavailable, AmbiguousWrite) as error:
        print(type(error).__name__)
    document = datastore.read("zerog_job_a")
    assert document["n"] == int(document["status"]) == len(document["events"]) == done, (document["n"], done)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    datastore.mutate("zerog_job_a", [Set("n", done + 1), Set("status", str(done + 1)), Append("events", "x")])
    print(done + 1)
"""


def test_no_room(path) -> None:
    """A write that finds no room is a named error and leaves nothing half-written; with room again, all goes on."""
    error, done = output(FILL, path).split()
    assert error == "DatastoreUnavailable"
    datastore = SqliteDatastore(path)
    document = datastore.read(KEY)
    assert document is not None
    assert document["n"] == int(document["status"]) == len(document["events"]) == int(done) > 1
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


# Rows that can't be read.

CORRUPTIONS = {
    "truncated body": ("UPDATE zerog_documents SET body = substr(body, 1, 5) WHERE key = ?", True),
    "empty body": ("UPDATE zerog_documents SET body = '' WHERE key = ?", True),
    "list for a body": ("UPDATE zerog_documents SET body = '[]' WHERE key = ?", True),
    "number for a body": ("UPDATE zerog_documents SET body = 5 WHERE key = ?", True),
    "NaN in the body": ("UPDATE zerog_documents SET body = '{\"a\":NaN}' WHERE key = ?", True),
    "deep body": (f"UPDATE zerog_documents SET body = '{'[' * 100_000}' WHERE key = ?", True),
    "body that is no UTF-8": ("UPDATE zerog_documents SET body = CAST(x'7bff7d' AS TEXT) WHERE key = ?", True),
    "truncated changes": ("UPDATE zerog_documents SET changes = '{\"a\"' WHERE key = ?", True),
    "list for changes": ("UPDATE zerog_documents SET changes = '[]' WHERE key = ?", True),
    "column that is no JSON": ("UPDATE zerog_documents SET owner = x'7b' WHERE key = ?", True),
    "column that is no UTF-8": ("UPDATE zerog_documents SET owner = x'ff' WHERE key = ?", True),
    "names of lists": ("UPDATE zerog_documents SET lists = 'errors' WHERE key = ?", False),
    "truncated history": (
        "UPDATE zerog_history SET entry = '[' WHERE document = (SELECT id FROM zerog_documents WHERE key = ?)",
        False,
    ),
    "history that is no UTF-8": (
        "UPDATE zerog_history SET entry = CAST(x'22ff22' AS TEXT)"
        " WHERE document = (SELECT id FROM zerog_documents WHERE key = ?)",
        False,
    ),
}


@pytest.mark.parametrize(("statement", "head_too"), CORRUPTIONS.values(), ids=list(CORRUPTIONS))
def test_corrupt_rows(datastore, path, statement: str, head_too: bool) -> None:
    """What can't be read is CorruptDocument and stays as it is; the documents around it can be read and found."""
    for key in ("a", "b", "c"):
        datastore.create(key, {"status": "queued", "key": key, "owner": {"w": 1}, "due": "1", "events": [1]})
    raw(path, statement, "b")
    with pytest.raises(CorruptDocument, match=r"b .*left as it is"):
        datastore.read("b")
    if head_too:
        with pytest.raises(CorruptDocument):
            datastore.read_with_cas("b", head=True)
    else:
        assert datastore.read_with_cas("b", head=True)[0]["key"] == "b"
    with pytest.raises(CorruptDocument):
        datastore.mutate("b", [Set("events", []), Add("n", 1), Append("items", 1)])
    expected = ["a", "c"] if head_too else ["a", "b", "c"]
    for query in ({}, {"due": "2"}, {"status": "queued"}):
        assert [head["key"] for head in datastore.find(**query).heads] == expected
    assert datastore.read("a") is not None and datastore.read("c") is not None
    with pytest.raises(CorruptDocument):
        datastore.read("b")


@pytest.mark.parametrize("column", ["owner", "status", "due"])
def test_corrupt_column_in_a_change(datastore, path, column: str) -> None:
    """A change of a document whose columns can't be read is refused by name."""
    datastore.create(KEY, {"a": 1, "status": "queued"})
    raw(path, f"UPDATE zerog_documents SET {column} = x'ff'")
    with pytest.raises(CorruptDocument, match=KEY):
        datastore.mutate(KEY, [Set("a", 2)])


# What a write costs.


def steps(datastore: SqliteDatastore, *operations) -> int:
    """How many instructions of SQLite's machine a change takes."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    with datastore.file.writing() as sqlite:
        sqlite.set_progress_handler(count, 1)
        datastore.change(sqlite, KEY, list(operations))
        sqlite.set_progress_handler(None, 1)
    return counted


@pytest.mark.parametrize(
    "operations",
    [[Append("events", "e")], [Append("events", "e", 10_000)], [Add("n", 1)], [Set("n", 1)], [Add("tickcount", 1)]],
)
def test_cost_is_constant(path, operations) -> None:
    """A change of a job with 3,000 events takes the steps that the same change of a job with 3 takes."""
    datastore = SqliteDatastore(path, "normal")
    counts = []
    for length in (3, 3_000):
        datastore.set(KEY, {"status": "running", "tickcount": 0, "n": 0, "events": ["e"] * length})
        steps(datastore, *operations)
        counts.append(steps(datastore, *operations))
    datastore.close()
    assert counts[1] <= counts[0] + 10


def test_changes_are_folded(datastore, path) -> None:
    """What operations changed is merged into the body before it makes every later change slow."""
    datastore.create(KEY, {"a": 0, "events": [1]})
    for n in range(40):
        datastore.mutate(KEY, [Set(f"field{n}", "x" * 5_000)])
        with datastore.file.reading() as sqlite:
            changes = sqlite.execute("SELECT coalesce(length(changes), 0) FROM zerog_documents").fetchone()[0]
        assert changes < 70_000
    document = datastore.read(KEY)
    assert document is not None and len(document) == 42 and document["field0"] == "x" * 5_000


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
