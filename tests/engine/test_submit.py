"""When and where a submitted job runs, on every engine, from code and from a shell; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for
from tests.backends.rq.queues import url_for as rq_url_for
from tests.cli.builders import zerog_command
from tests.marks import wide
from zerog.engine.transitions import WorkerIdentity
from zerog.support.clock import from_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0)

ENGINES: dict[str, Callable[[Path], dict[str, str]]] = {
    "memory": lambda _folder: {"url": "memory://"},
    "sqlite": lambda folder: {"url": f"sqlite:///{folder}/jobs.db"},
    "two-files": lambda folder: {
        "datastore": f"sqlite:///{folder}/documents.db",
        "queue": f"sqlite:///{folder}/queue.db",
    },
    "postgres": lambda folder: {"url": postgres_url_for(folder)},
    "redis": lambda folder: {"url": url_for(folder)},
    "redis-apart": lambda folder: {"datastore": f"sqlite:///{folder}/documents.db", "queue": url_for(folder)},
    "rq": lambda folder: {"url": f"rq+{rq_url_for(folder)}"},
}


class Note(zerog.BaseJob):
    """A job that does nothing."""

    JOB_TYPE = "note"

    def run(self) -> None:
        """Does nothing."""


@pytest.fixture(params=ENGINES)
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def app(parts: dict[str, str], clock: ManualClock) -> Any:
    app = zerog.App(**parts, clock=clock)  # type: ignore[arg-type]
    app.register(Note)
    yield app
    app.close()


def claimed(app: zerog.App, *queues: str) -> list[str]:
    return [claim.uuid for claim in app.engine.claim(20, ALICE, app.registry.load_head, queues)]


def test_a_delay_is_kept(app: zerog.App, clock: ManualClock) -> None:
    """The job is scheduled, doesn't run before its time, and runs then."""
    job = app.submit(Note, delay=90)
    assert job.status == app.progress(job.uuid)["status"] == "scheduled"
    clock.advance(89)
    assert claimed(app) == []
    clock.advance(2)
    assert claimed(app) == [job.uuid]


def test_a_time_is_kept_whatever_its_zone(app: zerog.App, clock: ManualClock) -> None:
    """The same moment written in two zones is the same moment."""
    moment = clock.now() + timedelta(hours=1)
    uuids = {
        app.submit(Note, at=moment).uuid,
        app.submit(Note, at=moment.astimezone(timezone(timedelta(hours=9)))).uuid,
    }
    clock.advance(3598)
    assert claimed(app) == []
    clock.advance(3)
    assert set(claimed(app)) == uuids


def test_a_time_that_has_passed_is_now(app: zerog.App, clock: ManualClock) -> None:
    """A time in the past means at once."""
    job = app.submit(Note, at=clock.now() - timedelta(days=1))
    assert job.status == "queued"
    assert claimed(app) == [job.uuid]


def test_priorities_go_first(app: zerog.App) -> None:
    """A higher priority overtakes what waits, on RQ's queues, too."""
    low, high = app.submit(Note).uuid, app.submit(Note, priority=5).uuid
    assert claimed(app) == [high, low]


def test_a_delayed_job_keeps_its_priority(app: zerog.App, clock: ManualClock) -> None:
    """Once it is due it precedes those that waited."""
    low, high = app.submit(Note).uuid, app.submit(Note, priority=5, delay=10).uuid
    clock.advance(11)
    assert claimed(app) == [high, low]


def test_a_class_may_have_a_queue_and_a_priority(app: zerog.App) -> None:
    """They hold unless a submit overrides them, for jobs of functions through their base, and for own ``enqueue``."""
    urgent = type("Urgent", (Note,), {"JOB_TYPE": "urgent", "QUEUE": "urgent", "PRIORITY": 3})

    @app.job("quick", base=urgent)
    def quick(job: Any) -> None: ...

    app.register(urgent)
    first, second = app.submit(urgent, priority=1), app.submit(quick)
    third = urgent(app.datastore, app.queue)
    third.enqueue()
    apart = app.submit(urgent, queue="acme", priority=0)
    shown = {(job.queueName, job.priority) for job in (second, third)}
    assert shown == {("urgent", 3)} and (first.priority, apart.priority) == (1, 0)
    assert set(claimed(app, "urgent")) == {first.uuid, second.uuid, third.uuid}
    assert claimed(app, "acme") == [apart.uuid]


@pytest.mark.parametrize(
    ("name", "value"), [("QUEUE", ""), ("QUEUE", None), ("PRIORITY", "high"), ("PRIORITY", 1.5), ("PRIORITY", None)]
)
def test_a_class_with_a_wrong_place_is_refused(name: str, value: Any) -> None:
    """Where the class is registered, not where its first job is lost."""
    with pytest.raises(zerog.exceptions.InvalidJobClass, match=f"Odd has a {name.lower()}={value!r}; expected"):
        zerog.App("memory://").register(type("Odd", (Note,), {"JOB_TYPE": "odd", name: value}))


def test_queues_are_apart(app: zerog.App) -> None:
    """A worker gets jobs of its queues only; a tenant whose queue is not served disturbs no other."""
    acme, other = app.submit(Note, queue="acme").uuid, app.submit(Note, queue="other").uuid
    assert claimed(app) == []
    assert claimed(app, "acme") == [acme]
    assert claimed(app, "acme", "other") == [other]


def test_many_at_once_take_the_same_options(app: zerog.App, clock: ManualClock) -> None:
    """``submit_many`` schedules all of them."""
    uuids = app.submit_many(Note, [{}, {}], at=clock.now() + timedelta(seconds=30), priority=2, queue="acme")
    assert claimed(app, "acme") == []
    clock.advance(31)
    assert sorted(claimed(app, "acme")) == sorted(uuids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": -1}, "delay=-1; expected seconds"),
        ({"delay": float("nan")}, "delay=nan; expected seconds"),
        ({"delay": float("inf")}, "delay=inf; expected seconds"),
        ({"delay": "soon"}, "delay='soon'; expected seconds"),
        ({"delay": 1e10}, "delay=10000000000.0; expected seconds"),
        ({"at": "2027-01-04"}, "no datetime"),
        ({"at": datetime(9999, 1, 4, tzinfo=UTC)}, "expected seconds"),
        ({"at": datetime(2027, 1, 4, tzinfo=UTC), "delay": 1}, "either delay= or at="),
        ({"priority": "high"}, "priority='high'; expected a whole number"),
        ({"priority": 1.5}, "priority=1.5; expected a whole number"),
        ({"priority": True}, "priority=True; expected a whole number"),
        ({"priority": 2**31}, "expected a whole number"),
        ({"queue": ""}, "queue=''; expected a name"),
        ({"queue": "high,low"}, "queue='high,low'; expected a name without commas"),
        ({"queue": " high"}, "without spaces at its ends"),
        ({"queue": "high "}, "without spaces at its ends"),
        ({"queue": 5}, "queue=5; expected a name"),
        ({"queue": "a\nb"}, "expected a name"),
        ({"queue": "x" * 201}, "expected a name"),
    ],
    ids=repr,
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """It names the value and what was expected, and nothing is stored."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Note)
    for submit in (lambda: app.submit(Note, **options), lambda: app.submit_many(Note, [{}], **options)):
        with pytest.raises(zerog.exceptions.InvalidValue, match="othing was stored") as caught:
            submit()
        assert message in str(caught.value)
    assert list(app.jobs()) == []
    app.close()


MODULE = """
import zerog

app = zerog.App(**{parts!r})


@app.job
def note(job): ...
"""


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Any]:
    def submit(parts: dict[str, str], *options: str) -> Any:
        (tmp_path / "shop.py").write_text(MODULE.format(parts=parts))
        return zerog_command("submit", "shop:app", "note", *options, folder=tmp_path)

    return submit


@pytest.mark.parametrize("engine", ["sqlite", *wide(*(name for name in ENGINES if name not in ("memory", "sqlite")))])
def test_a_shell_chooses_the_time_and_the_queue(tmp_path: Path, shell: Callable[..., Any], engine: str) -> None:
    """All options together, on every engine that a shell can reach."""
    parts = ENGINES[engine](tmp_path)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    moment = tomorrow.astimezone(timezone(timedelta(hours=1))).isoformat()
    submitted = shell(parts, "--at", moment, "--priority", "-5", "--queue", "acme")
    assert submitted.returncode == 0, submitted.stderr
    later = shell(parts, "--delay", "3600", "--queue", "acme").stdout.strip()
    app = zerog.App(**parts)  # type: ignore[arg-type]
    head = app.engine.read(submitted.stdout.strip())[0]
    assert head["status"] == app.progress(later)["status"] == "scheduled"
    assert (head["priority"], head["queueName"]) == (-5, "acme")
    assert abs(from_text(head["notBefore"]) - tomorrow) < timedelta(seconds=1)
    app.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--at", "tomorrow"), "is no time"),
        (("--at", "2027-01-04T08:00Z", "--delay", "5"), "either delay= or at="),
        (("--delay", "-1"), "delay=-1.0"),
        (("--delay", "nan"), "delay=nan"),
        (("--delay", "soon"), "'soon'"),
        (("--priority", "high"), "'high'"),
        (("--queue", ""), "queue=''"),
    ],
    ids=repr,
)
def test_a_shell_gets_an_error_that_names_the_mistake(
    tmp_path: Path, shell: Callable[..., Any], options: tuple[str, ...], message: str
) -> None:
    """One sentence on standard error, no traceback, a distinct exit code, and nothing stored."""
    parts = ENGINES["sqlite"](tmp_path)
    refused = shell(parts, *options)
    assert refused.returncode == 2, refused
    assert message in refused.stderr and "Traceback" not in refused.stderr and refused.stdout == ""
    app = zerog.App(**parts)  # type: ignore[arg-type]
    assert list(app.jobs()) == []
    app.close()
