"""What commands print on terminals of usual widths."""

from __future__ import annotations

import re

import pytest

from tests.cli.builders import Shop, zerog_command
from tests.cli.terminal import in_terminal, plain
from zerog.records.job import make_key
from zerog.records.operations import Append, Set


def words_of(lines: list[str]) -> list[str]:
    """The words, with ages and beats that move left out."""
    return re.sub(r"\b\d+s\b|\b[\d.]+ s\b", "", " ".join(map(plain, lines))).split()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["doctor", "jobs show", "types", "workers", "queues", "reconcile", "setup"])
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
