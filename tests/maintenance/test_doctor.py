"""``zerog doctor`` on prepared disorders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zerog
from tests.jobs.builders import PlainStore
from tests.maintenance.doctors import doctor_of
from zerog.backends.memory.queue import MemoryQueue
from zerog.cli.root import cli
from zerog.engine.transitions import WorkerIdentity, waiting
from zerog.exceptions import QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.findings import LISTED, Diagnosis, Finding
from zerog.records.job import make_key, new_document
from zerog.records.operations import Set, apply
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> Any:
        return 200


@pytest.fixture
def app(clock: ManualClock) -> zerog.App:
    made = zerog.App("memory://", clock=clock)
    made.register(Plain)
    return made


def found(diagnosis: Diagnosis, words: str) -> Finding:
    [finding] = [finding for finding in diagnosis.findings if words in finding.what]
    return finding


def test_nothing_is_wrong_with_an_empty_app(app: zerog.App) -> None:
    """No jobs, no findings, no person is needed; what the datastore promises is printed."""
    diagnosis = doctor_of(app).examine()
    assert (diagnosis.findings, diagnosis.needs_person) == ([], False)
    assert (diagnosis.durability, "memory" in diagnosis.durability_means) == ("process", True)


def test_waiting_jobs_with_a_living_worker_are_no_finding(app: zerog.App) -> None:
    """What waits is counted by status and queue."""
    app.submit("plain")
    app.submit("plain", delay=60)
    WorkerRecords(app.engine).renew(ALICE, 1, lambda: {"host": "here", "pid": 7})
    diagnosis = doctor_of(app).examine()
    assert diagnosis.jobs == {"queued": 1, "scheduled": 1}
    assert diagnosis.queues == {"default": {"documents": 2, "entries": 2, "paused": None}}
    assert [(w["worker"], w["host"], w["silent"]) for w in diagnosis.workers] == [("alice", "here", False)]
    assert not diagnosis.needs_person


def test_jobs_without_a_worker_need_one_started(app: zerog.App) -> None:
    """Waiting jobs and no worker: the finding has the command."""
    app.submit("plain")
    finding = found(doctor_of(app, "shop:app").examine(), "no worker is alive")
    assert (finding.needs_person, finding.command) == (True, "zerog worker shop:app")


def test_one_look_doesn_t_call_a_worker_alive(app: zerog.App, clock: ManualClock) -> None:
    """Only the next heartbeat shows whether a worker with a record lives."""
    app.submit("plain")
    WorkerRecords(app.engine).renew(ALICE, 1)
    doctor = doctor_of(app, "shop:app")
    first = doctor.examine()
    finding = found(first, "after one look it is unknown")
    assert (finding.needs_person, finding.command) == (False, "zerog doctor shop:app --watch 33")
    assert (first.workers[0]["alive"], first.needs_person) == (None, False)
    WorkerRecords(app.engine).renew(ALICE, 2)
    second = doctor.examine()
    assert (second.findings, second.workers[0]["alive"]) == ([], True)
    third = doctor_of(app, "shop:app").examine(watch=31)
    assert (third.workers[0]["alive"], found(third, "no worker is alive").needs_person) == (False, True)


def test_a_pending_job_is_distinguished_from_one_just_being_put(app: zerog.App, clock: ManualClock) -> None:
    """A document whose writer died waits for reconcile, after its grace."""
    WorkerRecords(app.engine).renew(ALICE, 1)
    document = new_document("plain", 1.0, to_text(clock.now()))
    apply(document, waiting(document["createdAt"], 0))
    app.datastore.create(make_key(document["uuid"]), document)
    assert list(found(doctor_of(app).examine(), "on their way").jobs) == [document["uuid"]]
    clock.advance(6)
    diagnosis = doctor_of(app).examine()
    assert list(found(diagnosis, "never reached").jobs) == [document["uuid"]]
    assert not diagnosis.needs_person


def test_an_owner_is_known_to_be_silent_after_two_looks(app: zerog.App, clock: ManualClock) -> None:
    """The first look can't decide; with a pause of more than the lease the second one can."""
    WorkerRecords(app.engine).renew(ALICE, 1)
    uuid = app.submit("plain").uuid
    app.engine.claim(1, ALICE, app.registry.load_head)
    assert not doctor_of(app).examine().findings
    diagnosis = doctor_of(app).examine(watch=31)
    assert "alice" in found(diagnosis, "silent").jobs[uuid]
    assert diagnosis.workers[0]["silent"]
    assert diagnosis.needs_person  # no worker is left that would take it back


def test_an_owner_without_a_record_is_named(app: zerog.App) -> None:
    """Its job may or may not be running; a second look decides."""
    uuid = app.submit("plain").uuid
    app.engine.claim(1, ALICE, app.registry.load_head)
    assert "alice" in found(doctor_of(app).examine(), "without a record").jobs[uuid]


@pytest.mark.parametrize(
    ("change", "words", "why"),
    [
        (Set("jobType", "strange"), "nor a living worker knows", "'strange'"),
        (Set("schemaVersion", 9.0), "newer code", "9.0"),
        (Set("format", 9), "newer code", "format 9"),
        (Set("queueKwargs", "of format 9"), "newer code", "format 9"),
        (Set("owner", {"worker": "x"}), "make no sense", "owner"),
        (Set("notBefore", "soon"), "make no sense", "soon"),
        (Set("uuid", "x"), "make no sense", "uuid"),
    ],
)
def test_stuck_jobs_are_listed_with_the_reason(app: zerog.App, change: Set, words: str, why: str) -> None:
    """Unknown type, too new, corrupt: each finding names what a person must do."""
    WorkerRecords(app.engine).renew(ALICE, 1)
    uuid = app.submit("plain").uuid
    app.datastore.mutate(make_key(uuid), [change, *[Set("format", 9)] * (change.value == "of format 9")])
    diagnosis = doctor_of(app).examine()
    finding = found(diagnosis, words)
    assert finding.needs_person
    assert why in next(iter(finding.jobs.values()))
    assert diagnosis.needs_person


def test_what_can_t_even_be_read_is_named_once(app: zerog.App) -> None:
    """A page leaves it out; it is a job that is not run all the same."""
    WorkerRecords(app.engine).renew(ALICE, 1)
    uuid = app.submit("plain").uuid
    app.datastore._records[make_key(uuid)].head = '{"status": "queued'
    finding = found(doctor_of(app).examine(), "make no sense")
    assert (finding.count, list(finding.jobs), finding.needs_person) == (1, [uuid], True)


def test_a_flushed_queue_is_seen(app: zerog.App) -> None:
    """By their documents they are on a queue that has lost their entries; a sweep puts them again."""
    WorkerRecords(app.engine).renew(ALICE, 1)
    for _ in range(3):
        app.submit("plain")
    app.queue.flush()
    diagnosis = doctor_of(app).examine()
    assert (found(diagnosis, "3 of 3").count, diagnosis.needs_person) == (3, True)
    app.reconcile()
    assert not doctor_of(app).examine().needs_person


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_queue_out_of_reach_is_named(app: zerog.App, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """Whether or not a job waits on it: its size is unknown, and a person has to restore it."""

    def unreachable() -> int:
        raise QueueUnavailable("no route")

    WorkerRecords(app.engine).renew(ALICE, 1)
    for _ in range(jobs):
        app.submit("plain")
    monkeypatch.setattr(app.queue, "size", unreachable)
    diagnosis = doctor_of(app).examine()
    assert "no route" in found(diagnosis, "can't be reached").what
    assert [queue["entries"] for queue in diagnosis.queues.values()] == [None] * jobs
    assert diagnosis.needs_person


def test_a_datastore_that_can_t_list_is_named() -> None:
    """Without find nothing is ever repaired, which the operator should know."""
    app = zerog.App(datastore=PlainStore(), queue=MemoryQueue())
    diagnosis = doctor_of(app).examine()
    assert "can't list" in diagnosis.findings[0].what
    assert diagnosis.needs_person


def test_many_stuck_jobs_are_counted_and_some_are_named() -> None:
    """The list of a finding is bounded."""
    finding = Finding("x", 0, "y", True)
    for number in range(LISTED + 5):
        finding.add(str(number), "why")
    assert (finding.count, len(finding.jobs)) == (LISTED + 5, LISTED)


APP = """
import zerog

class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self):
        return 200

app = zerog.App("sqlite:///jobs.db")
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"clinic_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{name}:app"


def test_the_command_prints_and_its_exit_code_shows_the_outcome(shop: str) -> None:
    """0 while no person is needed; 1 and the reason once one is; JSON for programs."""
    run = CliRunner().invoke
    well = run(cli, ["doctor", shop])
    assert (well.exit_code, "All well." in well.output) == (0, True)
    assert "fsync" in well.output
    app = zerog.App("sqlite:///jobs.db")
    app.register(Plain)
    uuids = [app.submit("plain").uuid for _ in range(7)]
    WorkerRecords(app.engine).renew(ALICE, 1)
    app.close()
    ill = run(cli, ["doctor", shop])
    assert ill.exit_code == 1
    for words in (uuids[0], "'plain'", "app.register", "and 2 more", "alice", "default: 7 entries"):
        assert words in ill.output
    as_json = run(cli, ["doctor", shop, "--json"])
    assert as_json.exit_code == 1
    recorded = json.loads(as_json.output)
    assert (recorded["needs_person"], recorded["jobs"], recorded["findings"][0]["count"]) == (True, {"queued": 7}, 7)


def test_a_wrong_call_is_no_diagnosis(shop: str) -> None:
    """An app that isn't there exits with 2."""
    result = CliRunner().invoke(cli, ["doctor", "absent_module:app"])
    assert result.exit_code == 2
    assert "absent_module" in result.output
