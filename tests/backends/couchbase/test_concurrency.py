"""Many writers at once, forked processes, connections that end and are restored."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.backends.couchbase.builders import TIMEOUT
from tests.backends.couchbase.servers import RunningStandIn, fresh_url
from tests.processes import program, stretched
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable

pytestmark = pytest.mark.wide

WRITER = """
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from zerog.backends.couchbase.datastore import CouchbaseDatastore
    from zerog.records.operations import Add, Append, Max, Set

    url, name, threads, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    datastore = CouchbaseDatastore(url)

    def write(thread):
        for n in range(rounds):
            operations = [Add("n", 1), Append("events", f"{name}.{thread}.{n}"), Max("most", n), Set(f"f{thread}", n)]
            datastore.mutate("key", operations)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
    datastore.close()
"""


def test_no_update_of_eight_threads_and_four_processes_is_lost() -> None:
    """Two threads in each of four processes: counters add up, lists have all entries, each writer's in its order."""
    url = fresh_url()
    datastore = CouchbaseDatastore(url)
    datastore.create("key", {"n": 0, "events": []})
    with (
        program(WRITER, url, "a", 2, 25) as a,
        program(WRITER, url, "b", 2, 25) as b,
        program(WRITER, url, "c", 2, 25) as c,
        program(WRITER, url, "d", 2, 25) as d,
    ):
        assert [each.wait(60) for each in (a, b, c, d)] == [0] * 4
    document = datastore.read("key") or {}
    datastore.close()
    events = document["events"]
    assert (document["n"], len(events), len(set(events)), document["most"]) == (200, 200, 200, 24)
    for writer in {event.rpartition(".")[0] for event in events}:
        own = [int(event.rpartition(".")[2]) for event in events if event.startswith(f"{writer}.")]
        assert own == list(range(25))


FORKING = """
    import os, sys
    from zerog.backends.couchbase.datastore import CouchbaseDatastore
    from zerog.records.operations import Add

    datastore, how = CouchbaseDatastore(sys.argv[1]), sys.argv[2]
    for key in ("parent", "child"):
        datastore.create(key, {"n": 0})
    child = os.fork()
    if not child:
        for n in range(0 if how == "idle" else 50):
            assert datastore.mutate("child", [Add("n", 1)]).values == {"n": n + 1}
        if how == "close":
            datastore.close()
        sys.exit(0)
    for n in range(50):
        assert datastore.mutate("parent", [Add("n", 1)]).values == {"n": n + 1}
    assert os.waitpid(child, 0)[1] == 0
    datastore.close()
"""


@pytest.mark.parametrize("how", ["use", "close", "idle"])
def test_a_forked_child_has_its_own_connection(how: str) -> None:
    """Parent and child use the same object at the same time; the child ends as any program does, and doesn't hang."""
    with program(FORKING, fresh_url(), how) as process:
        assert process.wait(20) == 0


def test_the_cluster_is_found_again_after_an_outage(own: RunningStandIn) -> None:
    """The same object works again; calls in between raise unavailable, and nothing was written."""
    datastore = CouchbaseDatastore(own.url(timeout=1))
    datastore.create("key", {"n": 0})
    own.kill()
    for call in (lambda: datastore.read("key"), lambda: datastore.create("key", {})):
        with pytest.raises((DatastoreUnavailable, AmbiguousWrite), match=datastore.server.name):
            call()
    own.start()
    deadline = time.monotonic() + stretched(20)
    while True:
        try:
            assert datastore.read("key") is None  # the stand-in has lost everything
            break
        except DatastoreUnavailable:
            assert time.monotonic() < deadline
    assert datastore.create("key", {"n": 1})
    datastore.close()


def test_a_hung_server_is_given_up_in_time(own: RunningStandIn, datastore: CouchbaseDatastore) -> None:
    datastore.create("key", {"n": 0})
    assert own.process is not None
    own.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, own.process.pid, os.WSTOPPED)
    began = time.monotonic()
    with pytest.raises(DatastoreUnavailable, match=datastore.server.name):
        datastore.read("key")
    with pytest.raises(AmbiguousWrite, match=datastore.server.name):
        datastore.create("another", {})
    assert time.monotonic() - began < stretched(10 * TIMEOUT)
    own.process.send_signal(signal.SIGCONT)
    assert datastore.read("key") == {"n": 0}
