"""``zerog doctor`` on a pair of a datastore and a queue that can't look up its entries: lost and undelivered ones."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import zerog
from tests.maintenance.doctors import doctor_of
from tests.maintenance.lost_entries import Silent, lose
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.cli.root import cli
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance import entry_findings
from zerog.maintenance.findings import Finding
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock

LONG_AGO = "2026-01-01T00:00:00.000000+00:00"
CODE = """
import zerog
from zerog.backends.sqlite.queue import SqliteQueue

class Foreign:
    def __init__(self):
        self.entries = SqliteQueue("{folder}/queue.db")

    def put(self, uuid, **options):
        return self.entries.put(uuid, **options)

    def reserve(self, timeout=0):
        return self.entries.reserve(timeout)

    def size(self):
        return self.entries.size()

queue = Foreign()
app = zerog.App(datastore="sqlite:///{folder}/jobs.db", queue=queue)

@app.job
def plain(job):
    pass
"""


@pytest.fixture
def app(clock: ManualClock) -> zerog.App:
    """Jobs in memory, and a queue that can't look up its entries."""
    made = zerog.App(datastore=MemoryDatastore(), queue=Silent(clock=clock), clock=clock)

    @made.job
    def plain(job: zerog.BaseJob) -> None:
        pass

    return made


def missing(app: zerog.App) -> list[Finding]:
    """What the doctor finds of missing or undelivered entries, beside a living worker."""
    WorkerRecords(app.engine).renew(WorkerIdentity("alice", 30.0), 1, lambda: {"queues": ["default"]})
    found = doctor_of(app).examine().findings
    return [finding for finding in found if "not on it" in finding.what or "no worker got" in finding.what]


def test_what_waits_on_its_queue_is_no_finding(app: zerog.App, clock: ManualClock) -> None:
    """However long: a backlog is no loss."""
    app.submit_many("plain", [{}] * 5)
    clock.advance(10_000)
    assert missing(app) == []


def test_jobs_without_entries_are_stuck_once_sweeps_had_their_time(app: zerog.App, clock: ManualClock) -> None:
    """Until then a worker's sweep mends it, and no person is needed."""
    uuids = app.submit_many("plain", [{}] * 3)
    lose(app.engine)
    clock.advance(30)
    [finding] = missing(app)
    assert (finding.count, finding.needs_person) == (3, False)
    clock.advance(31)
    [finding] = missing(app)
    assert (finding.what, finding.needs_person) == ("3 of 3 jobs that wait on queue default are not on it", True)
    assert (list(finding.jobs), finding.command) == (uuids, "zerog reconcile MODULE:APP")
    app.reconcile()
    assert missing(app) == []


def test_overdue_jobs_that_outnumber_the_entries_are_stuck(app: zerog.App, clock: ManualClock) -> None:
    """Some of them are lost, whatever the younger ones have; which ones can't be known."""
    lost = app.submit_many("plain", [{}] * 3)
    lose(app.engine)
    clock.advance(61)
    app.submit_many("plain", [{}] * 2)
    [finding] = missing(app)
    assert (finding.what, finding.needs_person) == ("3 of 5 jobs that wait on queue default are not on it", True)
    assert list(finding.jobs) == lost
    assert "if it is none of the 2" in finding.jobs[lost[0]]
    app.reconcile()
    assert missing(app) == []


def test_entries_of_younger_or_later_jobs_are_no_proof(app: zerog.App, clock: ManualClock) -> None:
    """What is overdue may have all the entries that there are; delayed jobs don't wait yet."""
    app.submit_many("plain", [{}] * 2)
    clock.advance(61)
    app.submit_many("plain", [{}] * 2, delay=3600)
    lose(app.engine)
    for uuid in [head["uuid"] for head in app.jobs(status="queued")]:
        app.queue.put(uuid)
    [finding] = missing(app)
    assert (finding.count, finding.needs_person) == (2, False)


def test_jobs_that_are_taken_while_the_doctor_looks_are_not_stuck(
    app: zerog.App, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were read before their entries were counted."""
    app.submit_many("plain", [{}] * 3)
    clock.advance(61)
    size = app.queue.size

    def taken_before_it_is_counted() -> int:
        for claim in app.engine.claim(10, WorkerIdentity("bob", 30.0), app.registry.load_head):
            app.datastore.mutate(make_key(claim.uuid), [Set("status", "succeeded")])
        lose(app.engine)
        return size()

    monkeypatch.setattr(app.queue, "size", taken_before_it_is_counted)
    [finding] = missing(app)
    assert not finding.needs_person


def undelivered(app: zerog.App, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, puts: int) -> str:
    """Submit a job to a queue that keeps its entries and delivers none; let a sweeper put it again so often."""
    monkeypatch.setattr(Silent, "reserve", lambda *args: None)
    uuid = app.submit("plain").uuid
    reconciler = Reconciler(app.engine, "first", clock)
    made = 0
    while made < puts:
        clock.advance(5)
        made += len(reconciler.sweep().put_again)
    clock.advance(61)
    return uuid


def test_a_job_that_repeated_puts_didn_t_bring_is_stuck(
    app: zerog.App, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = undelivered(app, clock, monkeypatch, entry_findings.PUTS)
    [finding] = missing(app)
    assert (list(finding.jobs), finding.count, finding.needs_person) == ([uuid], 1, True)
    assert "put on queue default again at least 3 times, and no worker got" in finding.what
    monkeypatch.undo()
    claims = app.engine.claim(1, WorkerIdentity("bob", 30.0), app.registry.load_head)
    assert [claim.uuid for claim in claims] == [uuid]
    assert missing(app) == []


def test_fewer_puts_are_no_proof(app: zerog.App, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are those before its last run."""
    uuid = undelivered(app, clock, monkeypatch, entry_findings.PUTS - 1)
    assert missing(app) == []
    app.reconcile()
    clock.advance(61)
    assert len(missing(app)) == 1
    app.datastore.mutate(make_key(uuid), [Set("startedAt", app.engine.read(uuid)[0]["queuedAt"])])
    assert missing(app) == []


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of an app with a foreign queue, in files that the command uses, too."""
    (tmp_path / "pairapp.py").write_text(CODE.format(folder=tmp_path))
    monkeypatch.delitem(sys.modules, "pairapp", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pairapp  # type: ignore[import-not-found]

    yield pairapp
    pairapp.app.close()
    pairapp.queue.entries.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_the_command_exits_with_1_and_what_it_names_mends_it(pair: Any) -> None:
    """As a user sees it, on a queue of their own."""
    WorkerRecords(pair.app.engine).renew(WorkerIdentity("alice", 30.0), 1)
    uuid = pair.app.submit("plain").uuid
    pair.app.datastore.mutate(make_key(uuid), [Set("queuedAt", LONG_AGO)])
    assert run("doctor", "pairapp:app").exit_code == 0
    pair.queue.reserve().delete()
    result = run("doctor", "pairapp:app", "--json")
    [finding] = [one for one in json.loads(result.output)["findings"] if "are not on it" in one["what"]]
    assert (result.exit_code, list(finding["jobs"])) == (1, [uuid])
    assert run(*shlex.split(finding["command"])[1:]).exit_code == 0
    assert pair.queue.size() == 1
    assert run("doctor", "pairapp:app").exit_code == 0
