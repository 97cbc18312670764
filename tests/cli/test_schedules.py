"""``zerog schedules`` as an operator uses it."""

from __future__ import annotations

import json

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog

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
