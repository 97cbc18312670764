"""A cluster that can't be reached or used, and what a user then sees. On the stand-in, through the real SDK."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.backends.couchbase.builders import KEY, is_one_line_without_secrets
from tests.backends.couchbase.servers import RunningStandIn
from tests.processes import stretched
from tests.servers import free_port
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    DatastoreError,
    DatastoreUnavailable,
    DocumentLocked,
    InvalidValue,
)
from zerog.records.operations import Add, Append, Set


def wrong_urls(server: RunningStandIn) -> dict[str, tuple[str, str]]:
    """By trouble: a URL that has it, and the text of the error."""
    return {
        "password": (server.url(password=":hunter2"), "user or password is wrong"),
        "bucket": (server.url("nowhere"), "no bucket 'nowhere'"),
        "scope": (server.url("default/nowhere/c", timeout=1), "no collection nowhere.c"),
        "collection": (server.url("default/_default/nowhere", timeout=1), "no collection _default.nowhere"),
        "port": (f"couchbase://Administrator:hunter2@127.0.0.1:{free_port()}/default?timeout=1", "can't be reached"),
        "host": ("couchbase://Administrator:hunter2@nowhere.invalid/default?timeout=1", "no host 'nowhere.invalid'"),
    }


@pytest.mark.parametrize("trouble", ["password", "bucket", "scope", "collection", "port", "host"])
def test_what_cannot_be_used_is_named(own: RunningStandIn, trouble: str) -> None:
    """One line, within the timeout and a second: the cause, and the URL without its secrets. Nothing is written."""
    url, named = wrong_urls(own)[trouble]
    datastore = CouchbaseDatastore(url)
    kind = DatastoreUnavailable if trouble == "port" else ConfigurationError
    for call in (
        lambda: datastore.read("key"),
        lambda: datastore.create("key", {}),
        lambda: datastore.find(FindQuery(due="9")),
    ):
        began = time.monotonic()
        with pytest.raises(kind, match=named) as caught:
            call()
        assert time.monotonic() - began < stretched(datastore.server.address.timeout + 1.5)
        assert is_one_line_without_secrets(str(caught.value))
        assert datastore.server.name in str(caught.value)


@pytest.mark.parametrize("trouble", ["password", "bucket", "collection", "port", "host"])
@pytest.mark.parametrize(
    "command", [["doctor"], ["worker", "--connect-retries", "0"], ["submit", "count"], ["setup"]], ids=lambda c: c[0]
)
@pytest.mark.wide
def test_a_command_reports_trouble_in_one_line(
    own: RunningStandIn, trouble: str, command: list[str], tmp_path: Path
) -> None:
    url, named = wrong_urls(own)[trouble]
    source = (
        f'import zerog\napp = zerog.App(datastore="{url}", queue="sqlite:///queue.db")\n@app.job\ndef count(job): ...\n'
    )
    (tmp_path / "myapp.py").write_text(source)
    called = [sys.executable, "-m", "zerog", command[0], "myapp:app", *command[1:]]
    ended = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode in (1, 2)
    lines = ended.stderr.strip().split("\n")
    [printed] = [line for line in lines if line.startswith("zerog: ")]
    assert named in printed
    gave_up = [line for line in lines if "gives up" in line]  # logged, and a note of the error
    assert len(lines) == 1 + len(gave_up)
    assert bool(gave_up) == (command[0] == "worker" and trouble == "port")
    assert all(map(is_one_line_without_secrets, lines))


def test_threads_that_wait_for_a_connection_share_its_failure() -> None:
    """If each of them tried in turn, the last one would wait for so many timeouts."""
    url = f"couchbase://Administrator:hunter2@127.0.0.1:{free_port()}/default?timeout=1"
    datastore = CouchbaseDatastore(url)

    def read(_: int) -> bool:
        try:
            datastore.read("key")
        except DatastoreUnavailable:
            return True
        return False

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert time.monotonic() - began < stretched(4)


def test_a_locked_document(own: RunningStandIn, datastore: CouchbaseDatastore) -> None:
    """It can be read; a change is refused at once, by name, and succeeds when the lock is gone."""
    datastore.create(KEY, {"n": 0})
    token = datastore.read_with_cas(KEY)[1]
    lock = datastore.server.collection.get_and_lock(KEY, timedelta(seconds=20))
    assert datastore.read(KEY) == {"n": 0}
    calls: list[Callable[[], object]] = [
        lambda: datastore.mutate(KEY, [Add("n", 1)]),
        lambda: datastore.mutate(KEY, [Set("with.dot", 1)]),
        lambda: datastore.set_with_cas(KEY, {}, token or 0),
        lambda: datastore.delete(KEY, cas=token),
    ]
    for call in calls:
        with pytest.raises(datastore.lockedException, match="lock") as caught:
            call()
        assert isinstance(caught.value, DocumentLocked)
        assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    datastore.server.collection.unlock(KEY, lock.cas)
    assert datastore.mutate(KEY, [Add("n", 1)]).values == {"n": 1}


def test_a_document_that_is_too_large(own: RunningStandIn) -> None:
    """What is beyond the server's own limit is refused by name, and the document stays as it is."""
    datastore = CouchbaseDatastore(own.url())
    datastore.create(KEY, {"events": []})
    datastore.mutate(KEY, [Append("events", "x" * 3_500_000)])
    with pytest.raises(InvalidValue, match=KEY) as caught:
        datastore.mutate(KEY, [Append("events", "y" * 3_500_000)])
    assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    assert len((datastore.read(KEY) or {})["events"]) == 1
    datastore.close()


def test_a_request_that_the_server_does_not_take_is_no_outage(
    own: RunningStandIn, datastore: CouchbaseDatastore
) -> None:
    """Waiting would not help, so it isn't raised as unavailable."""
    datastore.create(KEY, {"n": 0})
    own.fail("INVALID", times=0)
    with pytest.raises(DatastoreError, match=datastore.server.name) as caught:
        datastore.set(KEY, {"n": 1})
    assert not isinstance(caught.value, (DatastoreUnavailable, AmbiguousWrite))
    assert is_one_line_without_secrets(str(caught.value))
    own.heal()
    assert datastore.read(KEY) == {"n": 0}


@pytest.mark.parametrize("kind", ["TEMPORARY", "NO_ACCESS", "DURABILITY_IMPOSSIBLE"])
def test_refusals_are_named(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    """One line, in time; and when the server takes writes again, they succeed."""
    datastore.create(KEY, {"n": 0})
    own.fail(kind, times=0)
    with pytest.raises((DatastoreUnavailable, AmbiguousWrite)) as caught:
        datastore.mutate(KEY, [Add("n", 1)])
    assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    assert isinstance(caught.value, DatastoreUnavailable) or kind == "TEMPORARY"
    own.heal()
    assert datastore.read(KEY) == {"n": 0}
    assert datastore.mutate(KEY, [Add("n", 1)]).values == {"n": 1}
