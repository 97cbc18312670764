"""One SQLite file and many processes: racing, forking, killed while they write."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from tests.processes import output, program
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.records.operations import Add

KEY = "zerog_job_a"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def test_processes_racing(path) -> None:
    """Four processes of eight threads change one document: all sums and entries are there, in each thread's order."""
    rounds = 6
    datastore = SqliteDatastore(path, "normal")
    datastore.create("zerog_job_a", {"n": 0, "attempts": 0, "events": []})
    source = """
        import sys, threading
        from zerog.records.operations import Add, Append
        from zerog.backends.sqlite.datastore import SqliteDatastore

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
    datastore.create("zerog_job_b", {"epoch": 1, "seq": 0, "owner": {"nonce": "n"}, "n": 0, "events": []})
    source = """
        import sys, threading
        from zerog.contracts.datastore import RunGuard
        from zerog.records.operations import Add, Append
        from zerog.backends.sqlite.datastore import SqliteDatastore
        from zerog.exceptions import ClaimLost

        datastore = SqliteDatastore(sys.argv[1], "normal")
        print("ready", flush=True)
        sys.stdin.readline()

        def work():
            for seq in range(1, int(sys.argv[3]) + 1):
                try:
                    datastore.mutate("zerog_job_b", [Add("n", 1), Append("events", seq)], run=RunGuard(1, "n", seq))
                except ClaimLost:
                    pass  # the others are further on

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    run_together(source, path, 10)
    assert datastore.read("zerog_job_b") == {
        "epoch": 1,
        "seq": 10,
        "owner": {"nonce": "n"},
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
    """What a child writes stays written when its parent and all other processes have closed the file.

    Without a lock of the child's own, the last of them would take the log away under it.
    """
    source = """
        import os, sys
        from zerog.records.operations import Add
        from zerog.backends.sqlite.datastore import SqliteDatastore

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


def test_forked_while_other_threads_write(path) -> None:
    """Forking while other threads of the parent write does harm to neither."""
    source = """
        import os, sys, threading
        from zerog.records.operations import Add
        from zerog.backends.sqlite.datastore import SqliteDatastore

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
        from zerog.records.operations import Add
        from zerog.backends.sqlite.datastore import SqliteDatastore

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


def test_what_was_left_open_is_closed_without_a_warning(path) -> None:
    """An app that is part of a cycle when it is dropped, and one that a module holds until the process ends."""
    source = """
        import gc, os, sys
        import zerog

        held = []
        url = f"sqlite:///{sys.argv[1]}"
        app = zerog.App(url)
        app.itself = app
        with app.datastore.file.reading() as sqlite:
            held.append(sqlite)
        del sqlite
        gc.collect()  # now the collector comes to the connection first
        held.clear()
        del app
        gc.collect()
        print(sum(os.path.exists(f"/dev/fd/{n}") and "jobs.db" in os.readlink(f"/dev/fd/{n}") for n in range(100)))
        app = zerog.App(url)
        print(os.path.exists(sys.argv[1] + "-wal"))
    """
    command = [sys.executable, "-W", "error", "-c", dedent(source), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout.split(), ended.stderr) == (["0", "True"], "")
    assert not path.with_name("jobs.db-wal").exists()


def test_child_does_not_hold_the_lock_of_a_killed_parent(path) -> None:
    """A parent killed in the middle of a write does not lock the file for as long as its children live."""
    source = """
        import os, sys, threading
        from zerog.backends.sqlite.datastore import SqliteDatastore
        import zerog.backends.sqlite.connection

        zerog.backends.sqlite.connection.FORK_SECONDS = 0.1
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
            "import sys; from zerog.backends.sqlite import connection as c, file as f; c.BUSY_SECONDS = 5;"
            "f.SqliteFile(sys.argv[1]).require('CREATE TABLE IF NOT EXISTS x (y)')",
            path,
        )


def test_killed_while_writing(path) -> None:
    """A process killed while it writes leaves a readable file with every write that was confirmed to it."""
    source = """
        import sys
        from zerog.records.operations import Append, Set
        from zerog.backends.sqlite.datastore import SqliteDatastore

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
