"""Limits as users meet them: how many jobs run at once, what is shown of those that wait."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from marshmallow import Schema, fields

import zerog
from tests.maintenance.doctors import doctor_of
from zerog.cli.root import cli
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import DatastoreError, InvalidJobClass, InvalidValue
from zerog.maintenance.reindex import reindex
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.worker.worker import Worker

ALICE = WorkerIdentity("alice", 30.0)


class Report(zerog.BaseJob):
    JOB_TYPE = "report"
    ATTRIBUTES = ("customer",)
    MAX_RUNNING = 2
    CONCURRENCY_KEY = "customer"
    MAX_RUNNING_PER_KEY = 1

    class Params(Schema):
        customer = fields.String(required=True)

    customer: str

    def run(self) -> None:
        """Overlap with others that run now."""
        ledger.enter(self.customer)
        self.tick()
        self.set_completeness(0.5)
        ledger.leave(self.customer)


class Ledger:
    """Counts what runs at once, outside of the datastore."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, customer: str) -> None:
        with self._lock:
            for name in (customer, "all"):
                self._now[name] += 1
                self.most[name] = max(self.most[name], self._now[name])

    def leave(self, customer: str) -> None:
        with self._lock:
            for name in (customer, "all"):
                self._now[name] -= 1


ledger = Ledger()


@pytest.fixture
def app(tmp_path: Path) -> Any:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    made.register(Report)
    yield made
    made.close()


def test_a_worker_runs_no_more_at_once_than_the_limits_allow(app: zerog.App) -> None:
    """Of the type and of each key, and it runs all of them."""
    jobs = [app.submit(Report, {"customer": name}) for name in "aaaabbbcd"]
    ledger.most.clear()
    Worker(app, concurrency=6).run(burst=True)
    assert [app.progress(job.uuid)["status"] for job in jobs] == ["succeeded"] * 9
    assert [app.progress(job.uuid)["attempts"] for job in jobs] == [1] * 9
    assert ledger.most.pop("all") <= 2
    assert set(ledger.most.values()) == {1}


def test_a_parked_job_shows_its_limit_and_place(app: zerog.App) -> None:
    """To pollers and on the command line, without the engine's own members of attrs."""
    first, *others = [app.submit(Report, {"customer": "ada"}) for _ in range(3)]
    [claim] = app.engine.claim(3, ALICE, app.registry.load_head)
    assert claim.uuid == first.uuid
    assert [app.progress(job.uuid)["parked"] for job in others] == ["1 at once of type report with customer=ada"] * 2
    assert [app.info(job.uuid)["place"] for job in others] == [1, 2]
    assert "place" not in app.info(first.uuid)
    assert app.info(others[0].uuid)["attrs"] == {"customer": "ada"}
    assert [row["uuid"] for row in app.jobs(attrs={"customer": "ada"}, status="queued")] == [j.uuid for j in others]
    settlement = Settlement(claim, "finish", 1, 200)
    app.engine.settle([settlement])
    app.engine.settle_slots([settlement])
    assert app.progress(others[0].uuid)["parked"] is None
    assert app.info(others[1].uuid)["place"] == 1


def test_attributes_that_are_filled_anew_leave_a_job_parked(app: zerog.App) -> None:
    """It would be found by its limit no more."""
    for _ in range(2):
        app.submit(Report, {"customer": "ada"})
    [claim] = app.engine.claim(3, ALICE, app.registry.load_head)
    reindex(app.datastore, lambda head: {"customer": "eve"}, lambda number: None)
    settlement = Settlement(claim, "finish", 1, 200)
    app.engine.settle([settlement])
    app.engine.settle_slots([settlement])
    assert len(app.engine.claim(3, ALICE, app.registry.load_head)) == 1


def test_the_command_line_shows_parked_jobs(app: zerog.App, tmp_path: Path) -> None:
    """In the list as a status, on the job's page with the limit."""
    jobs = [app.submit(Report, {"customer": "ada"}) for _ in range(2)]
    app.engine.claim(3, ALICE, app.registry.load_head)
    listed = CliRunner().invoke(cli, ["jobs", "ls", f"sqlite:///{tmp_path}/jobs.db"])
    assert [line.split()[2] for line in listed.output.splitlines()[1:]] == ["running", "parked"]
    shown = CliRunner().invoke(cli, ["jobs", "show", f"sqlite:///{tmp_path}/jobs.db", jobs[1].uuid])
    assert "parked, waits for a slot of 1 at once of type report with customer=ada" in " ".join(shown.output.split())
    assert "~" not in shown.output


def test_jobs_are_found_by_the_limit_they_are_parked_at(app: zerog.App, tmp_path: Path) -> None:
    """And counted, also for each queue."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    running, *others = [app.submit(Report, {"customer": name}).uuid for name in ("ada", "ada", "eve", "bob")]
    app.engine.claim(4, ALICE, app.registry.load_head)
    of_key, of_type = "1 at once of type report with customer=ada", "2 at once of type report"
    assert [row["uuid"] for row in app.jobs(parked="any")] == [others[0], others[2]]
    assert [row["uuid"] for row in app.jobs(parked=of_key)] == [others[0]]
    assert [row["uuid"] for row in app.jobs(parked=of_type, job_type=Report)] == [others[2]]
    assert app.count(parked="any").number == 2
    assert app.count(parked=of_type, queue="default").number == 1
    assert list(app.jobs(parked="5 at once of type report")) == []
    assert app.fleet.queues()[0]["parked"] == 2
    listed = CliRunner().invoke(cli, ["jobs", "ls", url, "--parked", of_key]).output
    assert others[0] in listed
    assert running not in listed
    queues = CliRunner().invoke(cli, ["queues", "ls", url]).output
    assert "PARKED" in queues
    with pytest.raises(InvalidValue, match="parked=''; expected a limit as it is shown"):
        app.jobs(parked="")


def test_a_datastore_without_an_index_has_no_parked_jobs(app: zerog.App, monkeypatch: Any) -> None:
    """It says so in place of an empty list."""
    app.submit(Report, {"customer": "ada"})
    monkeypatch.setattr(type(app.datastore), "can_find_terms", False)
    with pytest.raises(DatastoreError, match="SqliteDatastore has no index of attributes; no jobs are parked there"):
        list(app.jobs(parked="any"))
    assert app.fleet.queues()[0]["parked"] is None


@pytest.mark.parametrize(("days", "needs_person"), [(0, False), (2, True)])
def test_doctor_names_the_limit_at_which_jobs_are_parked_for_longest(days: int, needs_person: bool) -> None:
    """With the command that lists these jobs."""
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)
    app.register(Report)
    for name in ("ada", "ada", "ada"):
        app.submit(Report, {"customer": name})
    app.engine.claim(3, ALICE, app.registry.load_head)
    at = to_text(clock.now())
    clock.advance(days * 86_400)
    [finding] = [each for each in doctor_of(app, "shop:app").examine(0.0).findings if "parked" in each.what]
    limit = "1 at once of type report with customer=ada"
    assert finding.what == f"2 jobs are parked, the longest since {at}: it waits for its limit, {limit}"
    assert finding.command == f"zerog jobs ls shop:app --parked '{limit}'"
    assert (finding.count, finding.needs_person) == (2, needs_person)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"MAX_RUNNING": 0}, "MAX_RUNNING is 0; expected a whole number, 1 or more"),
        ({"MAX_RUNNING": "3"}, "MAX_RUNNING is '3'"),
        ({"MAX_RUNNING_PER_KEY": True}, "MAX_RUNNING_PER_KEY is True"),
        ({"CONCURRENCY_KEY": "other"}, "CONCURRENCY_KEY is 'other'; expected one of its ATTRIBUTES"),
        ({"CONCURRENCY_KEY": None}, "MAX_RUNNING_PER_KEY is 1 without a CONCURRENCY_KEY"),
    ],
)
def test_limits_that_make_no_sense_are_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJobClass, match=message):
        zerog.JobRegistry().add_classes([type("Wrong", (Report,), attributes)])


def test_without_limits_no_document_is_read_or_written(monkeypatch: Any) -> None:
    """Jobs of no limit cost what they did."""
    app = zerog.App("memory://")

    @app.job("free")
    def free(job: zerog.BaseJob) -> None: ...

    app.submit("free")
    keys: list[str] = []
    read, write = app.datastore.read_with_cas, app.datastore.set_with_cas
    monkeypatch.setattr(app.datastore, "read_with_cas", lambda key, head=False: keys.append(key) or read(key, head))
    monkeypatch.setattr(app.datastore, "set_with_cas", lambda key, *rest: keys.append(key) or write(key, *rest))
    for verb in ("load_limited", "_take_of", "_pump"):
        monkeypatch.setattr(app.engine, verb, lambda *_: pytest.fail("there is no limit"))
    stats = Worker(app, concurrency=1).run(burst=True)
    assert stats.succeeded == 1
    assert not [key for key in keys if "limit" in key]


class Mail(zerog.BaseJob):
    JOB_TYPE = "mail"
    RATE = "60/minute"

    def run(self) -> None: ...


def test_short_jobs_share_the_writes_of_their_limit(app: zerog.App) -> None:
    """A worker takes and gives back many slots in one write."""
    app.register(Many)
    app.submit_many(Many, [{}] * 200)
    writes: list[str] = []
    failpoints.watch(writes.append)
    stats = Worker(app, concurrency=2).run(burst=True)
    failpoints.disarm()
    assert stats.succeeded == 200
    assert writes.count("limit.taken") + writes.count("limit.changed") < 200


class Many(zerog.BaseJob):
    JOB_TYPE = "many"
    MAX_RUNNING = 500

    def run(self) -> None: ...


def test_a_rate_holds_on_a_worker() -> None:
    """The first ones may come at once, the others one after the other; what waits names the rate."""
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)
    app.register(Mail)
    jobs = [app.submit(Mail) for _ in range(20)]
    first = app.engine.claim(20, ALICE, app.registry.load_head)
    assert len(first) == 6
    waiting = [app.progress(job.uuid) for job in jobs]
    assert {row["parked"] for row in waiting if row["status"] == "queued"} <= {"60/minute of type mail"}
    clock.advance(1)
    assert len(app.engine.claim(20, ALICE, app.registry.load_head)) == 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"RATE": "60"}, r"RATE: rate='60'; expected a whole number, 1 or more, a slash and one of"),
        ({"RATE": "0/minute"}, "RATE: rate='0/minute'"),
        ({"RATE_PER_KEY": "1/minute"}, "RATE_PER_KEY is 1/minute without a CONCURRENCY_KEY"),
    ],
)
def test_rates_that_make_no_sense_are_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJobClass, match=message):
        zerog.JobRegistry().add_classes([type("Wrong", (Mail,), attributes)])


def test_a_queue_is_limited_by_its_settings(app: zerog.App) -> None:
    """Jobs of other queues run meanwhile."""
    app.fleet.settings.set_queue("slow", max_running=1)
    app.register(Mail)
    slow = [app.submit(Mail, queue="slow") for _ in range(2)]
    other = app.submit(Report, {"customer": "c"})
    claims = app.engine.claim(5, ALICE, app.registry.load_head, ["slow", "default"])
    assert {claim.uuid for claim in claims} == {slow[0].uuid, other.uuid}
    assert app.progress(slow[1].uuid)["parked"] == "1 at once of queue slow"
