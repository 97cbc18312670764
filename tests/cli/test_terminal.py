"""What commands print on terminals of usual widths."""

from __future__ import annotations

import re

import click
import pytest
from rich.style import Style

from tests.cli.builders import Shop, zerog_command
from tests.cli.pictures import shown
from tests.cli.terminal import in_terminal, plain, watched
from tests.cli.test_examples import commands
from tests.marks import wide
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Append, Set


def words_of(lines: list[str]) -> list[str]:
    """The words, with ages and beats that move left out."""
    return re.sub(r"\b\d+s\b|\b[\d.]+ s\b", "", " ".join(map(plain, lines))).split()


@pytest.mark.parametrize("columns", [80, *wide(120)])
@pytest.mark.parametrize("command", ["doctor", "jobs show", *wide("types", "workers", "queues", "reconcile", "setup")])
def test_lines_are_broken_between_words(shop: Shop, command: str, columns: int) -> None:
    """No line is longer than the terminal, and the words are those that a pipe gets, none cut or left out."""
    uuid = shop.ended(500)
    sentence = " ".join(["the server closed the connection without an answer"] * 7)
    error = {"timestamp": "2026-01-01T00:00:01+00:00", "errorCode": 507, "msg": sentence, "traceback": sentence}
    shop.app.datastore.mutate(
        make_key(uuid),
        [Append("errors", error), Set("lastError", {"errorCode": 507, "msg": sentence}), Set("path", sentence)],
    )
    shop.submitted(queue="archive")
    shop.app.fleet.pause("archive", sentence, "ann@web1")
    called = [*command.split(), "myapp:app", *([uuid] if command == "jobs show" else [])]
    piped = zerog_command(*called, folder=shop.folder)
    lines = in_terminal(shop.folder, columns, *called, code=piped.returncode)
    assert max(len(plain(line)) for line in lines) <= columns
    assert sorted(words_of(lines)) == sorted(words_of(piped.stdout.splitlines()))


def test_a_command_to_be_copied_is_never_broken(shop: Shop) -> None:
    """However narrow the terminal is."""
    uuid = shop.running()
    shop.app.datastore.mutate(make_key(uuid), [Set("updatedAt", "2026-01-01T00:00:00.000000+00:00")])
    lines = [plain(line) for line in in_terminal(shop.folder, 40, "doctor", "myapp:app", code=1)]
    assert f"    $ zerog jobs cancel myapp:app {uuid}" in lines
    assert lines[-1] == "Needs attention."
    assert all(len(line) <= 40 for line in lines if not line.startswith("    "))


def test_the_all_clear_is_two_words(shop: Shop) -> None:
    """The last line of the doctor."""
    assert plain(in_terminal(shop.folder, 80, "doctor", "myapp:app")[-1]) == "All well."


@pytest.mark.parametrize("columns", [80, *wide(120)])
def test_an_error_is_broken_between_words(shop: Shop, columns: int) -> None:
    """On a terminal; in a pipe it is one line."""
    for called in (("jobs", "show", "myapp:app", "1234"), ("submit", "myapp:app", "word_counts", "path=a.txt")):
        piped = zerog_command(*called, folder=shop.folder)
        lines = in_terminal(shop.folder, columns, *called, code=piped.returncode)
        assert len(piped.stderr.splitlines()) == 1
        assert max(map(len, lines)) <= columns
        assert words_of(lines) == words_of([piped.stderr])
        assert all(line.startswith("  ") for line in lines[1:])


def test_the_table_of_workers_breaks_neither_names_nor_queues(shop: Shop) -> None:
    """A worker's name is as long as that of a host, a process and a nonce are."""
    name, queues = "web1-14727-f5c148ab", ["default", "mails", "reports"]
    WorkerRecords(shop.app.engine).renew(WorkerIdentity(name, 3600.0), 1, lambda: {"queues": queues, "host": "web1"})
    lines = [plain(line) for line in in_terminal(shop.folder, 80, "workers", "myapp:app")]
    assert max(map(len, lines)) <= 80
    assert name in lines[1]
    assert [word for line in lines for word in re.findall("default|mails|reports", line)] == queues


def test_an_edit_is_shown_once(shop: Shop) -> None:
    """Its event has who and why in its message and beside it."""
    uuid = shop.submitted()
    shop.app.edit(uuid, {"path": "b.txt"}, who="ann@web1", reason="a typo")
    lines = zerog_command("jobs", "show", "myapp:app", uuid, folder=shop.folder).stdout.splitlines()
    [event] = [line for line in lines if "edited by" in line]
    assert re.sub(r"^ *\S+  ", "", event) == (
        'edited by ann@web1: path; a typo, changed {"path": {"old": "war-and-peace.txt", "new": "b.txt"}}'
    )


def test_the_doctor_counts_one_in_the_singular(shop: Shop) -> None:
    """One entry, one job."""
    shop.submitted()
    printed = zerog_command("doctor", "myapp:app", folder=shop.folder).stdout
    assert "default: 1 entry, 1 job is recorded as on it." in printed
    assert "1 job is unfinished and no worker is alive" in printed


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _ in commands()])
def test_help_fits_a_terminal_and_explains_each_option(path: str, command: click.Command) -> None:
    """80 columns; an example that is longer is broken as a shell reads it."""
    shown = command.get_help(click.Context(command, info_name=path, terminal_width=80)).splitlines()
    assert [line for line in shown if len(line) > 80] == []
    unexplained = [option.opts for option in command.params if isinstance(option, click.Option) and not option.help]
    assert unexplained == []


def test_a_job_that_has_failed_has_no_time_left(shop: Shop) -> None:
    """Nor a rate, though its bar isn't full; the bar of one that succeeded has neither."""
    for result in (500, 200):
        printed = watched(shop.folder, 80, None, "progress", "myapp:app", shop.ended(result), "--follow")
        [bar] = [line.plain for line in shown(printed, 80) if "━" in line]
        assert ("failed" in bar) == (result == 500) and not re.search(r":|%/s", bar)


def test_the_rest_of_a_bar_is_fainter_than_the_terminals_own_colour(shop: Shop) -> None:
    """On a light terminal and on a dark one; a fixed grey is right on one of them alone."""
    printed = watched(shop.folder, 80, None, "progress", "myapp:app", shop.ended(500), "--follow")
    [bar] = [line for line in shown(printed, 80) if "━" in line.plain]
    rests = [span.style for span in bar.spans if "━" in bar.plain[span.start : span.end]]
    assert rests and all(isinstance(style, Style) and style.dim and style.color is None for style in rests)
