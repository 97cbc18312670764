"""``zerog schedules`` as an operator uses it."""

from __future__ import annotations

import json

import pytest
from marshmallow import RAISE, Schema, fields, validate

import zerog
from tests.cli.builders import Shop, WordCount
from tests.cli.conftest import Zerog
from zerog.schemas.describe import described
from zerog.schemas.stored import StoredSchemas

ADD = ("schedules", "add", "myapp:app", "nightly", "word_count", "path=x", "--cron", "0 3 * * *")


def test_add_names_the_next_five_runs_in_the_schedule_s_timezone(shop: Shop, zerog: Zerog) -> None:
    result = zerog(*ADD, "--timezone", "Asia/Kolkata")
    first, *runs = result.stdout.splitlines()
    assert first == "Schedule nightly: At 03:00 every day, Asia/Kolkata, next at"
    assert len(runs) == 5
    assert all(run.endswith(" 03:00:00+05:30") for run in runs)
    [listed] = zerog("schedules", "myapp:app").stdout.splitlines()[1:]
    assert listed.split()[:2] == ["nightly", "word_count"]
    assert "active, by hand" in listed


def test_pause_resume_run_and_rm(shop: Shop, zerog: Zerog) -> None:
    zerog(*ADD)
    assert zerog("schedules", "pause", "myapp:app", "nightly", "--reason", "full").stdout == (
        "Schedule nightly is paused.\n"
    )
    assert ": full." in zerog("schedules", "pause", "myapp:app", "nightly").stdout
    uuid = zerog("schedules", "run", "myapp:app", "nightly").stdout.strip()
    assert shop.status(uuid) == "queued"
    assert zerog("schedules", "resume", "myapp:app", "nightly").stdout == "Schedule nightly goes on.\n"
    assert zerog("schedules", "resume", "myapp:app", "nightly").stdout == "Schedule nightly was not paused.\n"
    shown = zerog("schedules", "show", "myapp:app", "nightly").stdout
    assert [line.split(": ")[1] for line in shown.splitlines() if line.startswith("Event")] == [
        "added",
        "paused",
        f"run by hand as job {uuid}",
        "resumed",
    ]
    assert zerog("schedules", "rm", "myapp:app", "nightly").exit_code == 0
    assert zerog("schedules", "ls", "myapp:app", "--json").stdout == ""
    assert json.loads(zerog("schedules", "ls", "myapp:app", "--all", "--json").stdout)["state"] == "removed"
    assert shop.status(uuid) == "queued"


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "run", "rm"])
def test_an_unknown_schedule_is_named_with_the_known_ones(shop: Shop, zerog: Zerog, verb: str) -> None:
    zerog(*ADD)
    result = zerog("schedules", verb, "myapp:app", "nightli")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "did you mean 'nightly'?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("x", "word_count", "path=x"), "expected one of both"),
        (("x", "word_count", "path=x", "--cron", "61 * * * *"), "the minute makes no sense"),
        (("x", "word_count", "path=x", "--cron", "0 3 * * *", "--every", "5m"), "expected one of both"),
        (("x", "word_count", "path=x", "--cron", "0 3 * * *", "--timezone", "Mars/Base"), "timezone='Mars/Base'"),
        (("x", "word_count", "path=x", "--every", "0s"), "from 1 s to 366 days"),
        (("x", "word_count", "path=x", "--every", "5"), "no interval such as"),
        (("x", "word_count", "--every", "5m"), "path: Missing data"),
        (("x", "nothing", "--every", "5m"), "no class is registered"),
        (("a b", "word_count", "path=x", "--every", "5m"), "name='a b'"),
        (("x", "--every", "5m"), "name the job type"),
    ],
)
def test_wrong_definitions_are_refused(shop: Shop, zerog: Zerog, arguments: tuple[str, ...], why: str) -> None:
    result = zerog("schedules", "add", "myapp:app", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert shop.app.schedules.all(removed=True) == []


def test_the_code_s_definition_is_restored_by_its_name_alone(shop: Shop, zerog: Zerog) -> None:
    (shop.folder / "planned.py").write_text(
        "from myapp import app, WordCount\n"
        'app.schedule("nightly", "0 3 * * *", WordCount, {"path": "x"}, timezone="Europe/Berlin")\n'
    )
    assert "declared in code and not stored yet" in zerog("schedules", "ls", "planned:app").stderr
    assert "not stored yet" in zerog("schedules", "show", "planned:app", "nightly").stderr
    zerog("schedules", "add", "planned:app", "nightly", "word_count", "path=y", "--every", "5m")
    shown = json.loads(zerog("schedules", "show", "planned:app", "nightly", "--json").stdout)
    assert (shown["byHand"], shown["every"], shown["params"]) == (True, 300, {"path": "y"})
    zerog("schedules", "rm", "planned:app", "nightly")
    assert "At 03:00 every day" in zerog("schedules", "add", "planned:app", "nightly").stdout
    shown = json.loads(zerog("schedules", "show", "planned:app", "nightly", "--json").stdout)
    assert (shown["state"], shown["byHand"], shown["code"], shown["params"]) == ("active", False, None, {"path": "x"})


URL = "sqlite:///jobs.db"


class Report(zerog.BaseJob):
    """A type that the folder's app doesn't have, of which a worker has stored the schema."""

    JOB_TYPE = "report"

    class Params(Schema):
        class Meta:
            unknown = RAISE

        region = fields.String(required=True, validate=validate.OneOf(["north", "south"]))
        pages = fields.Integer(validate=validate.Range(min=1))
        day = fields.Function(lambda job: "", deserialize=lambda value: value)

    def run(self) -> None:
        raise NotImplementedError


def _store_schemas(shop: Shop) -> None:
    StoredSchemas(shop.app.engine).record([described(Report), described(WordCount)], "build-1")


def test_add_by_url_checks_the_parameters_by_the_stored_schema(shop: Shop, zerog: Zerog) -> None:
    _store_schemas(shop)
    given = ("weekly", "report", "region=north", "pages=3", "day=any", "--cron", "0 6 * * MON", "--queue", "slow")
    result = zerog("schedules", "add", URL, *given)
    assert result.exit_code == 0
    assert result.stdout.startswith("Schedule weekly: At 06:00 on Monday, UTC, next at\n")
    assert result.stderr == "Only a sweeping worker that has the class of report submits its jobs.\n"
    shop.app.register(Report)
    shown = shop.app.schedules.get("weekly")
    assert (shown["jobType"], shown["queue"], shown["byHand"]) == ("report", "slow", True)
    assert shown["params"]["region"] == "north"
    job = shop.app.get_job(shop.app.schedules.run("weekly"))
    assert (job.queueName, job.region, job.pages) == ("slow", "north", 3)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("report", "--every", "5m"), "region: Missing data"),
        (("report", "region=west", "--every", "5m"), "region: Must be one of: north, south"),
        (("report", "region=north", "pages=0", "--every", "5m"), "pages: Must be greater than or equal to 1"),
        (("report", "region=north", "colour=red", "--every", "5m"), "colour: Unknown field"),
        (("report", "region=north"), "expected one of both"),
        (("reprt", "--every", "5m"), "did you mean 'report'? Known: report, word_count"),
        ((), "doesn't say what the code declares; give MODULE:APP"),
    ],
)
def test_wrong_definitions_by_url_are_refused(shop: Shop, zerog: Zerog, arguments: tuple[str, ...], why: str) -> None:
    _store_schemas(shop)
    result = zerog("schedules", "add", URL, "weekly", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert shop.app.schedules.all(removed=True) == []


def test_add_by_url_is_refused_before_any_worker_has_stored_a_schema(shop: Shop, zerog: Zerog) -> None:
    result = zerog("schedules", "add", URL, "weekly", "report", "--every", "5m")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Known: none. Workers store those of their classes when they start" in result.stderr
    assert "give MODULE:APP" in result.stderr


def test_all_commands_take_a_url(shop: Shop, zerog: Zerog) -> None:
    """What code has declared is listed, shown without its parameters, paused, resumed, run and removed."""
    shop.app.schedule("nightly", "0 3 * * *", WordCount, {"path": "private"}, queue="slow")
    shop.app.schedules.publish("w1", "build-1")
    assert "At 03:00 every day" in zerog("schedules", "ls", URL).stdout
    shown = zerog("schedules", "show", URL, "nightly").stdout
    assert "word_count" in shown and "private" not in shown
    assert zerog("schedules", "pause", URL, "nightly").stdout == "Schedule nightly is paused.\n"
    assert shop.app.schedules.get("nightly")["state"] == "paused"
    assert zerog("schedules", "resume", URL, "nightly").stdout == "Schedule nightly goes on.\n"
    job = shop.app.get_job(zerog("schedules", "run", URL, "nightly").stdout.strip())
    assert (job.queueName, job.path, job.headers) == ("slow", "private", {"schedule": "nightly"})
    assert zerog("schedules", "rm", URL, "nightly").stdout == "Schedule nightly is removed; its jobs stay.\n"
    assert shop.app.schedules.all() == []


def test_a_schedule_added_by_url_isn_t_run_by_url(shop: Shop, zerog: Zerog) -> None:
    """No program has made a job of it yet, so which queue and limits its class has is unknown."""
    _store_schemas(shop)
    zerog("schedules", "add", URL, "weekly", "report", "region=north", "--cron", "0 6 * * MON")
    result = zerog("schedules", "run", URL, "weekly")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give MODULE:APP. No job was submitted." in result.stderr
    assert list(shop.app.jobs()) == []
