"""docs/capabilities.md answers every row, and the names in it exist."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import zerog
from zerog.backends.urls import QUEUES
from zerog.cli.root import cli

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "capabilities.md"
NUMBERS = {"P": 49, "T": 41, "R": 26, "J": 44}
ANSWERS = ("yes", "planned", "left out")


class Row(NamedTuple):
    """A row of the page; ``tests`` are named as ``path::function``."""

    number: str
    what: str
    answer: str
    where: str
    tests: list[str]


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| [PTRJ]\d+ \|", line):
            number, what, answer, where, tests = (part.strip() for part in line.strip("|").split(" |"))
            found.append(Row(number, what, answer, where, re.findall(r"`([^`]+)`", tests)))
    return found


ROWS = rows()


def test_every_row_is_there_once() -> None:
    expected = [f"{letter}{number}" for letter, last in NUMBERS.items() for number in range(1, last + 1)]
    assert [row.number for row in ROWS] == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_every_row_has_an_answer(row: Row) -> None:
    """One of three; a yes has a test, and every answer names where or why not."""
    assert row.answer in ANSWERS
    assert row.what and row.where
    assert row.tests or row.answer != "yes"


@pytest.mark.parametrize("test", sorted({test for row in ROWS for test in row.tests}))
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    source = (ROOT / path).read_text() if (ROOT / path).exists() else ""
    assert re.search(rf"^ *(async )?def {name}\(", source, re.MULTILINE), f"{test} is not there"


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row.where)}))
def test_everything_that_is_named_exists(name: str) -> None:
    """Methods and their parameters, commands and their options, fields, exceptions, URLs."""
    if name.startswith("zerog ") and not name.startswith("zerog."):
        check_command(name)
    elif name.endswith("://"):
        assert name.removesuffix("://") in QUEUES
    else:
        check_object(name.removeprefix("with ").removeprefix("@"))


@pytest.mark.parametrize("link", sorted({link for row in ROWS for link in re.findall(r"\]\(([^)]+)\)", row.where)}))
def test_every_page_that_is_named_exists(link: str) -> None:
    page, _, anchor = link.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert not anchor or anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def check_command(line: str) -> None:
    words, options = [word for word in line.split()[1:] if word[0] != "-"], re.findall(r"--[a-z-]+", line)
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group), f"{line}: {command.name} has no commands"
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"{line}: there is no {word}"
        command = found
    taken = {option for parameter in command.params for option in parameter.opts}
    assert taken.issuperset(options), f"{line}: it takes {', '.join(sorted(taken))}"


def check_object(text: str) -> None:
    dotted, _, arguments = text.partition("(")
    found = resolved(dotted.split("."))
    parameters = re.findall(r"(\w+)=", arguments)
    if parameters:
        assert inspect.signature(found).parameters.keys() >= set(parameters), text


def resolved(parts: list[str]) -> Any:
    """``app.…`` is of an App, ``zerog.…`` of the package; a name alone is an exception's, or a job's."""
    if parts[0] == "app":
        return getattr(zerog.App, parts[1])
    if parts[0] == "zerog":
        found: Any = zerog
        for part in parts[1:]:
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
        return found
    [name] = parts
    annotated = {name for base in zerog.BaseJob.__mro__ for name in getattr(base, "__annotations__", ())}
    if hasattr(zerog.exceptions, name):
        return getattr(zerog.exceptions, name)
    assert hasattr(zerog.BaseJob, name) or name in annotated, f"a job has no {name}"
    return getattr(zerog.BaseJob, name, None)
