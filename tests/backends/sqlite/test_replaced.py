"""An SQLite file that is deleted, moved, replaced or overwritten while it is open: nothing is accepted into nowhere."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import zerog
from tests.maintenance.doctors import doctor_of
from tests.processes import program
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.exceptions import DatastoreUnavailable
from zerog.records.operations import Add

KEY = "zerog_job_a"
FILES = ("", "-wal", "-shm")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def app(path: Path) -> Iterator[zerog.App]:
    app = zerog.App(f"sqlite:///{path}?synchronous=normal")

    @app.job("work")
    def work(job: zerog.BaseJob) -> int:
        return 200

    for _ in range(20):
        app.submit(work)
    yield app
    app.close()


def backup(path: Path) -> Path:
    copy = path.with_suffix(".copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=wal")
    return copy


def delete(path: Path) -> None:
    for name in FILES:
        Path(f"{path}{name}").unlink()


def replace(path: Path) -> None:
    copy = backup(path)
    delete(path)
    copy.rename(path)


def rename_over(path: Path) -> None:
    backup(path).rename(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name(f"{path.parent.name}-moved"))


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    shutil.copyfile(backup(path), path)


def overwrite_with_an_older_copy(path: Path) -> None:
    shutil.copyfile(path.with_suffix(".older"), path)


def overwrite_with_another_database(path: Path) -> None:
    other = path.with_suffix(".other")
    with closing(sqlite3.connect(other)) as sqlite:
        sqlite.execute("CREATE TABLE other (x)")
    shutil.copyfile(other, path)


def overwrite_with_text(path: Path) -> None:
    path.write_text("Some notes. " * 1_000)


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


REPLACED = [
    (delete, "is gone"),
    (replace, "was replaced"),
    (rename_over, "was replaced"),
    (move_folder, "is gone"),
    (truncate, "was truncated or overwritten"),
    (overwrite_with_an_older_copy, "overwritten with another copy"),
    (overwrite_with_another_database, "overwritten with another copy"),
    (overwrite_with_text, "was truncated or overwritten"),
]


@pytest.mark.parametrize(("how", "text"), REPLACED, ids=lambda each: getattr(each, "__name__", ""))
def test_every_verb_refuses(app: zerog.App, path: Path, how: Callable[[Path], None], text: str) -> None:
    """The error states what happened to the file and what to do; nothing is accepted, by any thread."""
    backup(path).rename(path.with_suffix(".older"))
    job = app.submit("work")
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    app.submit("work")
    how(path)
    for verb in (lambda: app.submit("work"), lambda: app.progress(job.uuid), lambda: list(app.jobs())):
        with pytest.raises(DatastoreUnavailable, match=f"(?s){text}.*stop all processes that use it"):
            verb()
    caught: list[BaseException] = []

    def submit() -> None:
        try:
            app.submit("work")
        except DatastoreUnavailable as error:
            caught.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    thread.join(30)
    assert len(caught) == 1


def test_a_removed_log_is_noticed_by_writes(app: zerog.App, path: Path) -> None:
    remove_log(path)
    with pytest.raises(DatastoreUnavailable, match="-wal was removed or replaced"):
        app.submit("work")


def test_a_file_that_is_put_back_is_used_again(app: zerog.App, path: Path) -> None:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    with pytest.raises(DatastoreUnavailable, match="is gone"):
        app.submit("work")
    aside.rename(path)
    assert app.progress(app.submit("work").uuid)["status"] == "queued"


def test_what_sqlite_itself_does_is_no_replacement(app: zerog.App, path: Path) -> None:
    """Checkpoints, VACUUM, a restore through SQLite's own backup, by other processes."""
    copy = backup(path)
    for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "CREATE TABLE other (x)", "DROP TABLE other"):
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
            other.execute(statement)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert app.submit("work")
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(path, timeout=30)) as target:
        source.backup(target)
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert app.progress(app.submit("work").uuid)["status"] == "queued"
    assert sum(1 for _ in app.jobs()) == 21


def test_checkpoints_of_other_processes_are_no_replacement(path: Path) -> None:
    """Two processes write, grow the file and checkpoint it all the time; neither takes that for a copy."""
    source = """
        import sqlite3, sys
        from zerog.backends.sqlite.datastore import SqliteDatastore
        datastore = SqliteDatastore(sys.argv[1], "normal")
        with datastore.file.reading() as sqlite:
            sqlite.execute("PRAGMA wal_autocheckpoint=3")
        for n in range(300):
            datastore.create(f"{sys.argv[2]}{n}", {"text": "x" * 2000})
            if n % 3: datastore.delete(f"{sys.argv[2]}{n}")
    """
    SqliteDatastore(path).close()
    with program(source, path, "a") as one, program(source, path, "b") as two:
        assert [process.wait(100) for process in (one, two)] == [0, 0]


def test_doctor_names_who_has_the_deleted_file_open(path: Path) -> None:
    source = """
        import sys
        from zerog.backends.sqlite.datastore import SqliteDatastore
        datastore = SqliteDatastore(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
    """
    with program(source, path) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        replace(path)
        app = zerog.App(f"sqlite:///{path}")
        diagnosis = doctor_of(app).examine()
        app.close()
        process.stdin.close()
    (finding,) = [each for each in diagnosis.findings if "deleted or replaced" in each.what]
    assert f"process {process.pid} " in finding.what and diagnosis.needs_person
    assert finding.command == f"kill {process.pid}"


def test_a_process_that_comes_later_is_refused_at_once(path: Path) -> None:
    """A file that is truncated while another process has it open looks like a new one that is locked for ever."""
    source = """
        import sys
        from zerog.backends.sqlite.datastore import SqliteDatastore
        datastore = SqliteDatastore(sys.argv[1])
        datastore.create("zerog_job_a", {"n": 1})
        print("ready", flush=True)
        sys.stdin.readline()
    """
    with program(source, path) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        truncate(path)
        for call in (lambda: SqliteDatastore(path).create(KEY, {}), lambda: SqliteDatastore(path).read(KEY)):
            with pytest.raises(
                DatastoreUnavailable, match="is empty, its log isn't: it was truncated while it was in use"
            ):
                call()
        assert path.read_bytes() == b""
        process.stdin.close()


def test_a_check_costs_little(app: zerog.App) -> None:
    """Only looks at the header when the file was written since: no descriptor is listed for a plain read."""
    before = len(os.listdir("/dev/fd"))
    for _ in range(100):
        app.datastore.read(KEY)
    assert len(os.listdir("/dev/fd")) == before
    app.datastore.set(KEY, {"n": 0})
    app.datastore.mutate(KEY, [Add("n", 1)])
