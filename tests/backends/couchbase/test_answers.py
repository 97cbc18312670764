"""Requests without an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import zerog
from tests.backends.couchbase.builders import TIMEOUT, Count, is_one_line_without_secrets
from tests.backends.couchbase.servers import RunningStandIn
from tests.processes import stretched
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import AmbiguousWrite, DatastoreError, DatastoreUnavailable
from zerog.records.operations import Add


@pytest.mark.parametrize("kind", ["unanswered", "dropped", "closed", "SYNC_WRITE_AMBIGUOUS", "SYNC_WRITE_IN_PROGRESS"])
def test_a_write_without_an_answer_is_unknown(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    """Never a refusal and never "done"; in time, with the URL; and no write is repeated behind the caller's back."""
    token = datastore.create("key", {"n": 0})
    calls: list[Callable[[], object]] = [
        lambda: datastore.mutate("key", [Add("n", 1)]),
        lambda: datastore.set_with_cas("key", {"n": 1}, datastore.read_with_cas("key")[1] or token),
        lambda: datastore.create("another", {}),
        lambda: datastore.delete("key"),
    ]
    for call in calls:
        own.fail(kind, times=0 if kind == "SYNC_WRITE_IN_PROGRESS" else 1)  # the SDK tries that one again
        began = time.monotonic()
        with pytest.raises(AmbiguousWrite, match=datastore.server.name) as caught:
            call()
        assert time.monotonic() - began < stretched(3)
        assert is_one_line_without_secrets(str(caught.value))
        own.heal()
    done = kind in ("unanswered", "closed")
    assert datastore.read("key") == (None if done else {"n": 0})
    assert datastore.read("another") == ({} if done else None)


@pytest.mark.parametrize("kind", ["dropped", "TEMPORARY"])
def test_a_read_without_an_answer_is_unavailable(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    datastore.create("key", {"n": 0})
    own.fail(kind, op="document", times=0)
    calls = (
        lambda: datastore.read("key"),
        lambda: datastore.mutate("key", [Add("n", 1)]),
        lambda: datastore.find(FindQuery(due="9")),
        lambda: datastore.find(FindQuery(status="queued")),
    )
    for call in calls:
        with pytest.raises(DatastoreUnavailable, match=datastore.server.name):
            call()
    own.heal()
    assert datastore.read("key") == {"n": 0}


def test_a_read_that_a_closed_connection_cut_off_is_repeated(
    own: RunningStandIn, datastore: CouchbaseDatastore
) -> None:
    """It changes nothing twice, so the caller needs no error."""
    datastore.create("key", {"n": 0})
    own.fail("closed", op="GET")
    assert datastore.read("key") == {"n": 0}
    own.fail("closed", op="LOOKUP")
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}


def life(own: RunningStandIn, folder: Path) -> zerog.BaseJob:
    """A job's life, from its submit to its end, by workers that are started again if they end; the job as stored."""
    app = zerog.App(datastore=own.url(timeout=TIMEOUT), queue=f"sqlite:///{folder}/queue.db")
    app.register(Count)
    job = app.submit(Count)
    for _ in range(5):
        with suppress(DatastoreError):  # a worker whose first heartbeat isn't answered doesn't start
            app.reconcile()
            zerog.Worker(app).run(burst=True)
            if app.progress(job.uuid)["status"] == "succeeded":
                break
    stored = app.get_job(job.uuid)
    app.close()
    return stored


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unanswered", "dropped", "closed"])
def test_an_answer_that_is_lost_at_any_write_of_a_life(own: RunningStandIn, kind: str, tmp_path: Path) -> None:
    """Each write in turn, of documents, index and records: it is applied once, whether it was done or not."""
    skip = hit = misses = 0
    while misses < 3:  # the very last writes are not the same each time
        own.fail(kind, skip=skip)
        job = life(own, tmp_path)
        is_hit = bool(own.heal().get(f"fault.{kind}", 0))
        hit, misses = hit + is_hit, 0 if is_hit else misses + 1
        assert (job.status, job.output) == ("succeeded", {"steps": 3}), f"write {skip}"
        assert [event["msg"] for event in job.events].count("step") == 3, f"write {skip}"
        assert job.attempts == 1, f"write {skip}"
        skip += 1
    assert hit >= 15


def test_a_hung_cluster_holds_a_worker_up_and_no_longer(own: RunningStandIn, tmp_path: Path) -> None:
    """While nothing is answered a worker waits; afterwards it resumes unaided, and every job is done once."""
    app = zerog.App(datastore=own.url(timeout=TIMEOUT), queue=f"sqlite:///{tmp_path}/queue.db")
    app.register(Count)
    jobs = [app.submit(Count) for _ in range(5)]
    worker = zerog.Worker(app, concurrency=2)
    running = threading.Thread(target=worker.run)
    own.fail("dropped", op="document", skip=40, times=12)
    running.start()
    done = [app.wait(job.uuid, timeout=60) for job in jobs]
    worker.stop()
    running.join(30)
    assert [(job.status, job.output) for job in done] == [("succeeded", {"steps": 3})] * 5
    assert [[event["msg"] for event in job.events].count("step") for job in done] == [3] * 5
    assert own.heal()["fault.dropped"] > 0
    app.close()
