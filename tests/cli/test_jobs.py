"""``zerog jobs ls`` and ``show``: what a person sees, what a script gets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.cli.builders import Shop, without_app
from tests.cli.conftest import Zerog
from tests.cli.terminal import in_terminal, plain
from zerog.records.job import make_key, new_uuid
from zerog.records.operations import Append, Set


def rows(output: str) -> list[list[str]]:
    """The cells of the table's rows."""
    lines = output.splitlines()
    assert lines[0].split() == ["UUID", "TYPE", "STATUS", "DONE", "RUNS", "ERRS", "AGE", "DUE", "QUEUE"]
    return [line.split() for line in lines[1:]]


def uuids(output: str) -> list[str]:
    return [row[0] for row in rows(output)]


def test_a_row_shows_the_state_of_a_job(shop: Shop, zerog: Zerog) -> None:
    """Uuid, type, status, percent, runs, errors, age, due time and queue, in that order."""
    uuid = shop.running()
    shop.app.datastore.mutate(make_key(uuid), [Set("completeness", 0.428), Set("errorCount", 2)])
    result = zerog("jobs", "ls", "myapp:app")
    assert (result.exit_code, result.stderr) == (0, "")
    [[*cells, age, due, queue]] = rows(result.stdout)
    assert cells == [uuid, "word_count", "running", "42%", "1", "2"]
    assert (age[-1], due, queue) == ("s", "-", "default")


def test_an_empty_list_is_reported(zerog: Zerog) -> None:
    """Nothing to list is no error."""
    result = zerog("jobs", "ls", "myapp:app")
    assert (result.exit_code, result.stdout) == (0, "No jobs.\n")


def test_what_is_not_quite_done_is_not_100_percent(shop: Shop, zerog: Zerog) -> None:
    """A percentage is cut, not rounded, and what is no number is shown as such."""
    for value in (0.999, "x"):
        uuid = shop.submitted()
        shop.app.datastore.mutate(make_key(uuid), [Set("completeness", value)])
    assert {row[3] for row in rows(zerog("jobs", "ls", "myapp:app").stdout)} == {"99%", "?"}


def test_filters_choose_and_add_up(shop: Shop, zerog: Zerog) -> None:
    """By status (several), type, queue; together they narrow."""
    done, failed, waiting = shop.ended(), shop.ended(500), shop.submitted("refuse", queue="slow")
    for arguments, expected in (
        (["--status", "failed"], [failed]),
        (["--status", "failed", "--status", "succeeded"], [done, failed]),
        (["--type", "refuse"], [waiting]),
        (["--queue", "slow"], [waiting]),
        (["--queue", "slow", "--status", "failed"], []),
        (["--type", "nothing_like_it"], []),
    ):
        result = zerog("jobs", "ls", "myapp:app", *arguments)
        assert result.exit_code == 0
        assert (uuids(result.stdout) if expected else result.stdout) == (expected or "No jobs.\n"), arguments


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of this machine is not UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_ages_choose(shop: Shop, zerog: Zerog, in_tokyo: None) -> None:
    """--since and --older-than take ages and times; without a zone a time is UTC, whatever the machine's zone."""
    old = shop.made(shop.submitted(), "2026-01-01T12:00:00.000000+00:00")
    new = shop.submitted()
    strange = shop.made(shop.submitted(), "never")
    for arguments, expected in (
        (["--since", "1h"], [new]),
        (["--older-than", "1h"], [old]),
        (["--since", "2026-01-01T12:00"], [old, new]),
        (["--older-than", "2026-01-01T12:00"], []),
        (["--older-than", "2026-01-01T12:01"], [old]),
        (["--older-than", "2026-01-01T12:00-01:00"], [old]),
        (["--since", "2026-01-01", "--older-than", "2026-01-02"], [old]),
        ([], [old, new, strange]),
    ):
        found = zerog("jobs", "ls", "myapp:app", "--json", *arguments).stdout
        assert [json.loads(line)["uuid"] for line in found.splitlines()] == expected, arguments


@pytest.mark.parametrize("value", ["yesterday", "5", "5y", "-3h", "", "1e99999d", "99999999999w"])
def test_an_age_that_is_none_is_refused(zerog: Zerog, value: str) -> None:
    """The message shows both forms."""
    result = zerog("jobs", "ls", "myapp:app", "--since", value)
    assert result.exit_code == 2
    assert "30d" in result.stderr
    assert "2026-11-01" in result.stderr


def test_a_limited_list_shows_that_there_are_more(shop: Shop, zerog: Zerog) -> None:
    """Fifty by default; the line is on standard error, so that scripts don't meet it."""
    made = sorted(shop.submitted() for _ in range(52))
    result = zerog("jobs", "ls", "myapp:app")
    assert uuids(result.stdout) == made[:50]
    assert "more than these 50" in result.stderr
    exactly = zerog("jobs", "ls", "myapp:app", "--limit", "52")
    assert (uuids(exactly.stdout), exactly.stderr) == (made, "")
    assert uuids(zerog("jobs", "ls", "myapp:app", "--all").stdout) == made
    few = zerog("jobs", "ls", "myapp:app", "--limit", "3", "--json")
    assert len(few.stdout.splitlines()) == 3
    assert "more than these 3" in few.stderr


def test_long_listings_are_tables_of_bounded_size(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, the header is printed once and the columns continue."""
    monkeypatch.setattr("zerog.cli.job_table.CHUNK", 3)
    made = sorted(shop.submitted() for _ in range(7))
    assert uuids(zerog("jobs", "ls", "myapp:app", "--all").stdout) == made


def test_a_pipe_gets_plain_lines(shop: Shop) -> None:
    """No colour codes, one line a job, nothing cut, however long a type's name is."""
    uuid = shop.ended()
    shop.app.datastore.mutate(make_key(uuid), [Set("jobType", "t" * 200)])
    command = [sys.executable, "-m", "zerog", "jobs", "ls", "myapp:app"]
    environment = {**without_app(), "COLUMNS": "80", "TERM": "xterm-256color"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=shop.folder)
    assert "\x1b" not in printed.stdout
    assert rows(printed.stdout)[0][:2] == [uuid, "t" * 200]


def test_80_columns_are_enough(shop: Shop) -> None:
    """Whole uuids and statuses on one line each, in colour; a long type is shortened."""
    uuid = shop.ended(500)
    shop.app.datastore.mutate(make_key(uuid), [Set("jobType", "a_rather_long_type_of_job")])
    header, row = in_terminal(shop.folder, 80, "jobs", "ls", "myapp:app")
    assert "\x1b[31m" in row
    assert max(len(plain(header)), len(plain(row))) <= 80
    assert plain(row).split()[0] == uuid
    assert plain(row).split()[2] == "failed"
    assert "…" in row


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("length", [1, 60, 500])
def test_a_list_with_errors_fits_whatever_is_in_it(shop: Shop, columns: int, length: int) -> None:
    """Long types, queues and errors: uuid, status and age are whole, and the whole error is below its job."""
    error = "ConnectionError: " + " ".join(["https://a.example.com/a/long/path"] * (length // 34 + 1))
    uuid, later = shop.ended(500), shop.submitted(delay=7300, queue="a_queue_with_a_long_name")
    shop.app.datastore.mutate(
        make_key(uuid),
        [Set("lastError", {"errorCode": 500, "msg": error}), Set("jobType", "a_rather_long_type_of_job" * 3)],
    )
    lines = [plain(line) for line in in_terminal(shop.folder, columns, "jobs", "ls", "myapp:app", "--errors")]
    assert max(map(len, lines)) <= columns
    header, first, *below, last = lines
    assert header.split()[:3] == ["UUID", "TYPE", "STATUS"]
    assert {"DONE", "AGE", "DUE"} < set(header.split())
    assert (first.split()[0], first.split()[2]) == (uuid, "failed")
    assert " ".join(map(str.strip, below)) == f"[500] {error}"
    assert all(line.startswith("    ") for line in below)
    assert last.split()[0] == later
    assert last[: header.index("DUE") + 3].endswith(" 2h"), "due in two hours"


def test_the_colour_of_a_running_job_is_not_that_of_a_failed_one(shop: Shop) -> None:
    """Neither of its status nor of its bar."""
    uuid = shop.running()
    shop.app.datastore.mutate(make_key(uuid), [Set("completeness", 0.5)])
    _, row = in_terminal(shop.folder, 120, "jobs", "ls", "myapp:app")
    assert "\x1b[36mrunning" in row and "\x1b[36m━━━━━━" in row
    assert "\x1b[31m" not in row


def test_a_wide_terminal_shows_bars(shop: Shop) -> None:
    """A job's completeness is also drawn."""
    shop.ended()
    header, row = in_terminal(shop.folder, 140, "jobs", "ls", "myapp:app")
    assert "QUEUE" not in header, "it is the default one"
    assert "━━━━━━━━━━━━" in row


def test_show_prints_head_and_history(shop: Shop, zerog: Zerog) -> None:
    """Everything that is stored, in words; --no-history leaves out the history."""
    uuid = shop.ended()
    error = {"timestamp": "2026-01-01T00:00:01+00:00", "errorCode": 507, "msg": "full", "traceback": "line 1\nline 2\n"}
    shop.app.datastore.mutate(make_key(uuid), [Append("errors", error), Set("output", {"words": 6})])
    whole = zerog("jobs", "show", "myapp:app", uuid)
    assert whole.exit_code == 0
    for words in (uuid, "word_count, version 1.0", "succeeded", "100%", '{"words": 6}', 'path: "war-and-peace.txt"'):
        assert words in whole.stdout
    for words in ("Events (1)", "looked", "Errors (1)", "full, errorCode 507", "    line 1\n    line 2\n"):
        assert words in whole.stdout
    head = zerog("jobs", "show", "myapp:app", uuid, "--no-history")
    assert "succeeded" in head.stdout
    assert "looked" not in head.stdout


def test_show_for_scripts_is_the_document(shop: Shop, zerog: Zerog) -> None:
    """One JSON object, as it is stored."""
    uuid = shop.ended()
    stored = shop.app.datastore.read(make_key(uuid))
    assert json.loads(zerog("jobs", "show", "myapp:app", uuid, "--json").stdout) == stored
    head = json.loads(zerog("jobs", "show", "myapp:app", uuid, "--json", "--no-history").stdout)
    assert stored is not None
    assert head == {field: value for field, value in stored.items() if field not in ("events", "errors", "warnings")}


def test_what_a_document_holds_does_not_command_the_terminal(shop: Shop, zerog: Zerog) -> None:
    """Control characters are shown as their escapes; markup is only text."""
    uuid = shop.submitted()
    event = {"timestamp": "now", "msg": "\x1b]0;title\x07 [red]x[/red] [/nothing] \u202e"}
    nasty = [Append("events", event), Set("jobType", "\x1b[2J\nnext"), Set("path", ["\x9b1m", {"a": "b" * 120}])]
    shop.app.datastore.mutate(make_key(uuid), nasty)
    for arguments in (["show", "myapp:app", uuid], ["ls", "myapp:app"]):
        printed = zerog("jobs", *arguments).stdout
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)
        assert r"\x1b[2J" in printed
    assert len(zerog("jobs", "ls", "myapp:app").stdout.splitlines()) == 2
    assert "[red]x[/red] [/nothing]" in zerog("jobs", "show", "myapp:app", uuid).stdout


def test_show_takes_whatever_is_stored(shop: Shop, zerog: Zerog) -> None:
    """An invalid document is what an operator most needs to see."""
    uuid = new_uuid()
    shop.app.datastore.create(make_key(uuid), {"status": "queued", "events": [1, None], "owner": 3, "createdAt": 5})
    printed = zerog("jobs", "show", "myapp:app", uuid)
    assert printed.exit_code == 0
    assert "queued" in printed.stdout


def test_a_job_that_is_not_there_is_1_and_a_wrong_uuid_2(zerog: Zerog) -> None:
    """A script can distinguish them."""
    absent = zerog("jobs", "show", "myapp:app", "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f")
    assert (absent.exit_code, "no job 0190c3f2" in absent.stderr) == (1, True)
    wrong = zerog("jobs", "show", "myapp:app", "42")
    assert (wrong.exit_code, "'42'" in wrong.stderr) == (2, True)


def test_a_stalled_job_is_shown_as_stalled(shop: Shop, zerog: Zerog) -> None:
    """A listing that shows a hung job as running would hide it."""
    uuid = shop.running()
    shop.app.datastore.mutate(make_key(uuid), [Set("updatedAt", "2026-01-01T00:00:00.000000+00:00")])
    assert f"{uuid} word_count stalled" in zerog("jobs", "ls", "myapp:app").stdout
    assert "Status       stalled" in zerog("jobs", "show", "myapp:app", uuid).stdout


def test_limits_of_one_job_are_submitted_and_shown(shop: Shop, zerog: Zerog) -> None:
    """A class's limits aren't shown with its jobs: they may change."""
    options = ["--timeout", "600", "--soft-timeout", "500.5", "--max-errors", "1"]
    uuid = zerog("submit", "myapp:app", "refuse", *options).stdout.strip()
    assert (
        "Limits       max_errors 1, timeout 600.0, soft_timeout 500.5"
        in zerog("jobs", "show", "myapp:app", uuid).stdout
    )
    plain = zerog("submit", "myapp:app", "refuse").stdout.strip()
    assert "Limits" not in zerog("jobs", "show", "myapp:app", plain).stdout
    wrong = zerog("submit", "myapp:app", "refuse", "--soft-timeout", "60", "--timeout", "5")
    assert (wrong.exit_code, "expected a soft limit below the hard one" in wrong.stderr) == (2, True)


def test_stalled_jobs_are_listed(shop: Shop, zerog: Zerog) -> None:
    silent, waiting = shop.running(), shop.submitted()
    assert silent not in zerog("jobs", "ls", "myapp:app", "--stalled").stdout
    shop.app.datastore.mutate(make_key(silent), [Set("updatedAt", "2026-01-01T00:00:00+00:00")])
    listed = zerog("jobs", "ls", "myapp:app", "--stalled").stdout
    assert (f"{silent} word_count stalled" in listed, waiting in listed) == (True, False)
    refused = zerog("jobs", "ls", "myapp:app", "--stalled", "--status", "queued")
    assert (refused.exit_code, "expected 'running'" in refused.stderr) == (2, True)


@pytest.mark.parametrize("option", [["--build", "1f2e"], ["--schema-version", "0.5"]], ids=" ".join)
def test_jobs_are_listed_by_build_and_by_stored_version(shop: Shop, zerog: Zerog, option: list[str]) -> None:
    """What one deploy broke, and what is still stored as an earlier one wrote it."""
    uuid = shop.submitted()
    shop.submitted()
    error = {"timestamp": "2026-01-01T00:00:00.000000+00:00", "errorCode": 500, "msg": "no", "build": "1f2e"}
    shop.app.datastore.mutate(make_key(uuid), [Set("lastError", error), Set("schemaVersion", 0.5)])
    listed = zerog("jobs", "ls", "myapp:app", "--json", *option).stdout.splitlines()
    assert [json.loads(line)["uuid"] for line in listed] == [uuid]
