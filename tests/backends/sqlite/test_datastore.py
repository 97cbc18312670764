"""Documents in SQLite rows: a full disk, rows that can't be read, the cost of a write."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.processes import output
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.exceptions import CorruptDocument
from zerog.records.operations import Add, Append, Remove, Set

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


def test_a_file_of_older_code_gets_the_index_of_ended_jobs(datastore, path) -> None:
    """When it is opened; with the jobs that are there."""
    datastore.create(KEY, {"status": "failed", "jobType": "x", "finishedAt": "1"})
    datastore.close()
    raw(path, "DROP INDEX zerog_by_end")
    opened = SqliteDatastore(path)
    assert opened.setup() == ["zerog_by_end"]
    assert len(opened.find(FindQuery(status="failed", job_type="x", until="1")).heads) == 1
    opened.close()


# A full disk.

FILL = """
    import resource, signal, sys
    from zerog.records.operations import Append, Set
    from zerog.backends.sqlite.datastore import SqliteDatastore
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
    """A write that finds no room is a named error and leaves nothing half-written; with room again, writes succeed."""
    error, done = output(FILL, path).split()
    assert error == "DatastoreUnavailable"
    datastore = SqliteDatastore(path)
    document = datastore.read(KEY)
    assert document is not None
    assert document["n"] == int(document["status"]) == len(document["events"]) == int(done) > 1
    datastore.close()


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
        assert [head["key"] for head in datastore.find(FindQuery(**query)).heads] == expected
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


# The cost of a write.


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
    """Operations' changes are merged into the body before they make every later change slow."""
    datastore.create(KEY, {"a": 0, "events": [1]})
    for n in range(40):
        datastore.mutate(KEY, [Set(f"field{n}", "x" * 5_000)])
        with datastore.file.reading() as sqlite:
            changes = sqlite.execute("SELECT coalesce(length(changes), 0) FROM zerog_documents").fetchone()[0]
        assert changes < 70_000
    document = datastore.read(KEY)
    assert document is not None and len(document) == 42 and document["field0"] == "x" * 5_000


def test_a_file_of_an_earlier_version_gets_the_columns_that_it_lacks(path) -> None:
    """Beside a process of that version, which has the file open and still writes; no document is changed."""
    SqliteDatastore(path, "normal").close()
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("ALTER TABLE zerog_documents DROP COLUMN run")
    insert = "INSERT INTO zerog_documents (cas, body, lists, key, epoch, seq, owner) VALUES (?, ?, '', ?, 1, 0, ?)"
    old.execute(insert, (1, "{}", "zerog_job_a", b'{"nonce":"n"}'))
    datastore = SqliteDatastore(path, "normal")
    assert datastore.setup() == ["zerog_documents.run"]
    assert datastore.setup() == []
    old.execute(insert, (1, "{}", "zerog_job_b", b'{"nonce":"n"}'))
    for key in ("zerog_job_a", "zerog_job_b"):
        assert datastore.read(key) == {"epoch": 1, "seq": 0, "owner": {"nonce": "n"}}
        datastore.mutate(key, [Set("run", "n")], run=RunGuard(1, "n", 1))
        assert (datastore.read(key) or {})["run"] == "n"
    old.close()
    datastore.close()


def test_a_file_of_an_earlier_version_is_listed_by_creation(path) -> None:
    """What is in it when it is opened, and by ``setup`` what a process of that version writes later."""
    SqliteDatastore(path, "normal").close()
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("DROP INDEX zerog_by_creation")
    old.execute("DROP INDEX zerog_by_status_and_creation")
    old.execute("ALTER TABLE zerog_documents DROP COLUMN createdAt")
    insert = "INSERT INTO zerog_documents (cas, body, lists, key, status) VALUES (1, ?, '', ?, 'queued')"
    old.execute(insert, ('{"createdAt":"2"}', "zerog_job_a"))
    for number, body in enumerate(["{}", '{"createdAt":5}', "no JSON"]):
        old.execute(insert, (body, f"zerog_job_odd{number}"))
    datastore = SqliteDatastore(path, "normal")
    old.execute(insert, ('{"createdAt":"1"}', "zerog_job_b"))

    def listed() -> list[str]:
        return [head["createdAt"] for head in datastore.find(FindQuery(status="queued", order="oldest")).heads]

    assert listed() == ["2"]
    made = ["zerog_by_creation", "zerog_by_status_and_creation", "zerog_documents.createdAt"]
    assert datastore.setup() == [*made, "1 entries of the index zerog_by_creation"]
    assert listed() == ["1", "2"]
    assert datastore.setup() == []
    datastore.set("zerog_job_a", {"status": "queued", "createdAt": "0"})
    [(body,)] = old.execute("SELECT body FROM zerog_documents WHERE key = 'zerog_job_a'")
    assert json.loads(body) == {"createdAt": "0"}, "the earlier version reads it there"
    datastore.mutate("zerog_job_a", [Remove("createdAt")])
    assert datastore.read("zerog_job_a") == {"status": "queued"}
    old.close()
    datastore.close()


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("query", [{}, {"status": "failed"}, {"since": "3"}, {"status": "failed", "until": "3"}])
def test_lists_by_creation_come_from_an_index(datastore, order: str, query: dict[str, Any]) -> None:
    """So that a page costs what it returns: nothing is sorted, and no other job is read."""
    plans: list[str] = []
    with datastore.file.reading() as sqlite:
        sqlite.set_trace_callback(plans.append)
        datastore.find(FindQuery(order=order, limit=3, **query))
        sqlite.set_trace_callback(None)
        [statement] = [text for text in plans if text.startswith("SELECT")]
        plan = " ".join(row[-1] for row in sqlite.execute(f"EXPLAIN QUERY PLAN {statement}"))
    index = "zerog_by_status_and_creation" if "status" in query else "zerog_by_creation"
    assert f"USING INDEX {index} (" in plan or f"SCAN zerog_documents USING INDEX {index}" in plan, plan
    assert "TEMP B-TREE" not in plan
