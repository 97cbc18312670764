"""Copies of installations: every pair of datastores, broken off anywhere, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

import zerog
from tests.maintenance.copies import (
    EACH,
    PLACES,
    RUNS,
    Broken,
    Count,
    app_on,
    breaking,
    documents,
    fill,
    mend,
)
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.contracts.datastore import Datastore
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import CopyRefused, DatastoreUnavailable, InvalidValue
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.copied import Report, fingerprint
from zerog.maintenance.copying import Copy
from zerog.records.job import Document, make_key
from zerog.records.keys import COPIED_FROM, QUEUES, WORKERS, stored_keys
from zerog.records.unique import lock_key
from zerog.support import failpoints, jsonvalues

Make = Callable[[str], Datastore]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens a place of a kind, each in its own folder."""
    opened: list[Datastore] = []

    def place(kind: str) -> Datastore:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        datastore = PLACES[kind](folder)
        datastore.setup()
        opened.append(datastore)
        return datastore

    yield place
    for datastore in opened:
        datastore.close()


def copied(source: Datastore, target: Datastore, **options: bool) -> Report:
    return Copy(source, target, "here", "there", **options).run()


def work(datastore: Datastore) -> list[str]:
    """Let a worker at a place do all that it may; return the jobs that it ran."""
    app = app_on(datastore)
    RUNS.clear()
    app.reconcile()
    zerog.Worker(app, queues=["default", "slow"]).run(burst=True)
    return sorted(RUNS)


NEAR = [("memory", "sqlite"), ("sqlite", "fakeredis"), ("fakeredis", "mongomock"), ("mongomock", "memory")]
"""Each datastore on either side; all other pairs run with ``-m wide``."""

OTHERS = [pair for pair in product(PLACES, PLACES) if pair not in NEAR]


@pytest.mark.parametrize(("here", "there"), [*NEAR, *wide(*OTHERS)])
def test_everything_arrives_and_runs_once(here: str, there: str, make: Make) -> None:
    """Whole documents with their history; what waits is run there, once, and nothing any more where it was."""
    source, target = make(here), make(there)
    jobs = fill(source)
    before = documents(source)
    report = copied(source, target)
    assert (report.finished, report.verified, report.undone()) == (True, len(jobs), 0)
    after = documents(target)
    assert {key: fingerprint(job) for key, job in after.items()} == {k: fingerprint(job) for k, job in before.items()}
    assert {key: job["events"] for key, job in after.items()} == {key: job["events"] for key, job in before.items()}
    assert app_on(target).fleet.paused().keys() == {"slow"}
    assert work(source) == []
    assert work(target) == sorted([jobs["queued"], jobs["expiring"]])
    events = [event["msg"] for event in documents(target)[make_key(jobs["queued"])]["events"]]
    assert [event for event in events if "again" in event] == ["put on the queue again: it was copied here"]
    app_on(target).fleet.resume("slow")
    assert work(target) == [jobs["paused"]]
    assert (target.read(make_key(jobs["succeeded"])) or {})["output"]["big"] == 2**62


def test_a_copy_may_be_repeated(make: Make) -> None:
    """All is there already; what ran there since is left as it is, and what was submitted here since arrives."""
    source, target = make("sqlite"), make("fakeredis")
    jobs = fill(source)
    copied(source, target)
    assert len(work(target)) == 2
    late = app_on(source).submit(Count).uuid
    report = copied(source, target)
    assert report.finished
    assert (report.results["copied"], report.results["ahead"], report.results["differs"]) == (1, 4, 0)
    assert work(target) == [late]
    assert copied(source, target).results["copied"] == 0
    assert app_on(target).fleet.paused().keys() == {"slow"}
    assert jobs.keys() >= {"queued"}


@pytest.mark.parametrize("here", EACH)
def test_a_unique_key_without_a_job_stays_behind(here: str, make: Make) -> None:
    """Its submit died; the next one of the key makes a job under the uuid noted here, or one of its own there."""
    source, target = make(here), make("memory")
    failpoints.arm("submit.create", "raise")
    with pytest.raises(failpoints.InjectedFailure):
        app_on(source).submit(Count, unique=("invoice", 42))
    failpoints.disarm()
    assert copied(source, target).finished
    there = app_on(target).submit(Count, unique=("invoice", 42))
    key = lock_key(target.read(make_key(there.uuid)) or {})
    noted = (source.read(str(key)) or {})["uuid"]
    here_again = app_on(source).submit(Count, unique=("invoice", 42))
    assert (there.is_new, here_again.is_new, here_again.uuid) == (True, True, noted)
    assert there.uuid != noted


def test_what_was_removed_there_does_not_return(make: Make) -> None:
    """It would run again."""
    source, target = make("sqlite"), make("memory")
    jobs = fill(source)
    copied(source, target)
    assert jobs["queued"] in work(target)
    app_on(target).discard(jobs["queued"])
    report = copied(source, target)
    assert list(report.named["removed"]) == [make_key(jobs["queued"])]
    assert target.read(make_key(jobs["queued"])) is None
    assert work(target) == []


@pytest.mark.parametrize(
    ("there", "step"), [("sqlite", 7), *wide(("memory", 1), ("fakeredis", 7), ("sqlite", 1), ("mongomock", 1))]
)
def test_a_copy_broken_off_at_any_write_goes_on(there: str, step: int, make: Make) -> None:
    """Until it is finished no worker takes anything there; then everything runs once."""
    source = make("memory")
    jobs = fill(source)
    for left in range(1, 60, step):
        target = make(there)
        broken = target if left % 3 else source
        breaking(broken, left)
        try:
            copied(source, target)
        except Broken:
            mend(broken)
            if not (target.read(COPIED_FROM) or {}).get("finishedAt") and "*" in app_on(target).fleet.paused():
                assert work(target) == []
        else:
            mend(broken)
            if left > 36:
                break
        assert copied(source, target).finished
        assert work(target) == sorted([jobs["queued"], jobs["expiring"]])
    else:
        pytest.fail("it never gets to its end")
    assert work(source) == []


def test_what_changed_here_before_the_end_replaces_what_was_copied(make: Make) -> None:
    """A job that is cancelled between two tries must not run there."""
    source, target = make("sqlite"), make("sqlite")
    jobs = fill(source)
    breaking(target, 12)
    with pytest.raises(Broken):
        copied(source, target)
    mend(target)
    app_on(source).cancel(jobs["queued"])
    report = copied(source, target)
    assert report.finished
    assert work(target) == [jobs["expiring"]]


def test_what_changes_meanwhile_is_copied_too(make: Make) -> None:
    """Jobs may be submitted while the copy runs."""
    source, target = make("sqlite"), make("memory")
    fill(source)
    late: list[str] = []

    def noted(what: str, done: int, total: int) -> None:
        if what == "copied" and done and not late:
            late.append(app_on(source).submit(Count).uuid)

    report = Copy(source, target, "here", "there", noted=noted).run()
    assert report.finished
    assert late[0] in work(target)


def test_all_settings_of_the_list_of_keys_arrive(make: Make) -> None:
    """And what belongs to the old place stays there."""
    source, target = make("sqlite"), make("memory")
    fill(source)
    app = app_on(source)
    app.schedule("nightly", "0 3 * * *", Count)
    app.schedules.restore("nightly", "ann")
    report = copied(source, target)
    settings = [key for key in stored_keys(source.read) if source.read(key) is not None]
    assert len(settings) >= 3
    assert [key for key in settings if target.read(key) is None] == []
    assert {key: source.read(key) for key in settings if key != QUEUES} == {
        key: target.read(key) for key in settings if key != QUEUES
    }
    assert report.records == len(settings)
    assert target.read(WORKERS) is None


# refused


def test_a_living_worker_is_in_the_way(make: Make) -> None:
    source, target = make("sqlite"), make("memory")
    fill(source)
    records = WorkerRecords(app_on(source).engine)
    now = {"renewedAt": "2999-01-01T00:00:00+00:00"}
    records.renew(WorkerIdentity("alice", 30.0), 1, lambda: {**now, "state": "running"})
    with pytest.raises(CopyRefused, match=r"alice \(running\) is alive at here .*zerog workers drain"):
        copied(source, target)
    assert documents(target) == {}
    assert "*" not in app_on(source).fleet.paused()
    records.renew(WorkerIdentity("alice", 30.0), 2, lambda: {**now, "state": "drained"})
    assert copied(source, target).finished


def test_a_running_job_is_in_the_way(make: Make) -> None:
    source, target = make("sqlite"), make("memory")
    app = app_on(source)
    uuid = app.submit(Count).uuid
    assert app.engine.claim(1, WorkerIdentity("alice", 30.0), app.registry.load_head)
    with pytest.raises(CopyRefused, match=f"a job runs: {uuid}"):
        Copy(source, target, "here", "there").check()


@pytest.mark.parametrize("there", ["memory", "sqlite", "fakeredis", "mongomock"])
def test_other_jobs_are_in_the_way(there: str, make: Make) -> None:
    source, target = make("memory"), make(there)
    fill(source)
    uuid = app_on(target).submit(Count).uuid
    with pytest.raises(CopyRefused, match=f"there has other jobs than here: {uuid}"):
        copied(source, target)
    assert list(documents(target)) == [make_key(uuid)]


def test_a_place_is_not_copied_to_itself(tmp_path: Path) -> None:
    first, second = PLACES["sqlite"](tmp_path), PLACES["sqlite"](tmp_path)
    jobs = fill(first)
    with pytest.raises(CopyRefused, match="the same place"):
        copied(first, second)
    assert len(work(first)) == 2, jobs
    first.close()
    second.close()


def test_a_place_that_cannot_list_is_refused(make: Make) -> None:
    target = make("memory")
    target.can_find_ended = False  # type: ignore[misc]
    with pytest.raises(CopyRefused, match="there can't list its jobs"):
        copied(make("memory"), target)


# documents that make trouble


@pytest.mark.parametrize("here", ["memory", "sqlite"])
def test_what_cannot_be_read_is_named(here: str, make: Make) -> None:
    """The others are copied; the copy is finished when that is wanted."""
    source, target = make(here), make("memory")
    jobs = fill(source)
    key = make_key(jobs["queued"])
    if isinstance(source, MemoryDatastore):
        source._records[key].head = '{"status": "queued'
    else:
        with source.file.writing() as sqlite:  # type: ignore[attr-defined]
            sqlite.execute("UPDATE zerog_documents SET body = substr(body, 1, 5) WHERE key = ?", (key,))
    report = copied(source, target)
    assert (report.finished, list(report.named["unreadable"])) == (False, [key])
    assert len(documents(target)) == len(jobs) - 1
    assert work(target) == []
    report = copied(source, target, without_unreadable=True)
    assert (report.finished, list(report.named["unreadable"])) == (True, [key])
    assert work(target) == [jobs["expiring"]]


def test_what_is_larger_than_a_new_document_may_be_is_copied(make: Make) -> None:
    """Of a history that doesn't fit the oldest entries are left out, and that is reported."""
    source, target = make("sqlite"), make("mongomock")
    jobs = fill(source)
    key = make_key(jobs["failed"])
    document = source.read(key) or {}
    entry = {**document["events"][0], "message": "x" * 60_000}
    source.set(key, {**document, "events": [entry] * 100})
    report = copied(source, target)
    assert (report.finished, list(report.named["shortened"])) == (True, [key])
    there = target.read(key) or {}
    assert 50 < len(there["events"]) < 100
    assert there["eventsDropped"] == 100 - len(there["events"])


@pytest.mark.parametrize("there", ["memory", "sqlite", "fakeredis", "mongomock"])
def test_a_document_that_uses_the_room_of_the_engine_arrives(there: str, make: Make) -> None:
    """No job may be made so large, but one may become so."""
    source, target = make("sqlite"), make(there)
    jobs = fill(source)
    key = make_key(jobs["failed"])
    source.set(key, {**(source.read(key) or {}), "output": "x" * (jsonvalues.JOB_BYTES + 1000)})
    report = copied(source, target)
    assert (report.finished, report.named) == (True, {})
    assert target.read(key) == source.read(key)


def test_what_does_not_fit_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make("sqlite"), make("sqlite")
    jobs = fill(source)
    key, create = make_key(jobs["queued"]), target.create

    def full(name: str, value: Document, *rest: object) -> int:
        if name == key:
            raise InvalidValue("too large")
        return create(name, value)

    monkeypatch.setattr(target, "create", full)
    report = copied(source, target)
    assert (report.finished, report.named["refused"]) == (False, {key: "too large"})
    assert len(documents(target)) == len(jobs) - 1
    monkeypatch.undo()
    assert copied(source, target).finished


def test_an_outage_ends_a_copy_that_then_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make("sqlite"), make("memory")
    fill(source)

    def unavailable(*_args: object) -> int:
        raise DatastoreUnavailable("no route")

    monkeypatch.setattr(target, "create", unavailable)
    with pytest.raises(DatastoreUnavailable, match="no route"):
        copied(source, target)
    monkeypatch.undo()
    assert copied(source, target).finished
    assert len(work(target)) == 2


def test_pauses_are_merged(make: Make) -> None:
    """Those of the target's operators stay, too; a damaged document of the source's is refused by name."""
    source, target = make("memory"), make("memory")
    fill(source)
    app_on(target).fleet.pause("other")
    copied(source, target)
    assert app_on(target).fleet.paused().keys() == {"slow", "other"}
    source.set(QUEUES, {"paused": 7})
    with pytest.raises(zerog.CorruptDocument, match=QUEUES):
        copied(source, make("memory"))
