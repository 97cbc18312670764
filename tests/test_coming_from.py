"""The pages for users of other systems: every name of ZeroG in their tables exists, and code that CI runs has it."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.test_docs import BLOCK, PAGES
from zerog.exceptions import InvalidUuid, InvalidValue

COMING_FROM = [page for page in PAGES if page.name.startswith("from_")]
COMMAND = "zerog "
"""What a command begins with; ``tests/test_docs.py`` checks those."""


def rows(page: Path) -> list[str]:
    """The second column of a page's table."""
    columns = re.findall(r"^\|[^|]+\|([^|]+)\|$", page.read_text(), re.MULTILINE)
    return columns[2:]  # after the heading and its line


def names(page: Path) -> list[str]:
    """The code in the second column of a page's table, but for commands and texts."""
    spans = [span for row in rows(page) for span in re.findall(r"`([^`]+)`", row)]
    return [span for span in spans if not span.startswith((COMMAND, '"'))]


def resolve(name: str) -> object:
    """Return what a name means: of ``app``, of the package, or else of a job, whose fields are annotations."""
    first, *rest = name.split(".")
    if first == "zerog":
        return pkgutil.resolve_name(name)
    if first == "app":
        return getattr(zerog.App, rest[0])
    fields = {field for base in zerog.BaseJob.__mro__ for field in inspect.get_annotations(base)}
    return None if name in fields else getattr(zerog.BaseJob, name)


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_names_of_zerog_in_the_table_exist(page: Path) -> None:
    """With the parameters that are named in brackets."""
    assert len(names(page)) > 20
    for name in names(page):
        dotted, _, arguments = name.partition("(")
        found = resolve(dotted)
        given = set(re.findall(r"(\w+)=", arguments))
        assert not given or given <= set(inspect.signature(found).parameters), name  # type: ignore[arg-type]


@cache
def run_code() -> str:
    """All code that CI runs: the tests but this one, and the blocks of the pages."""
    tests = [file.read_text() for file in Path(__file__).parent.rglob("*.py") if file != Path(__file__)]
    return "\n".join([*tests, *(block for page in PAGES for block in BLOCK.findall(page.read_text()))])


def in_use(span: str) -> list[str]:
    """What has to occur in code for a span of a table to be shown: a name and its arguments, or words of a command."""
    if span.startswith(COMMAND):
        return [rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in span.split()[1:]]
    dotted, _, arguments = span.partition("(")
    return [rf"\b{dotted.split('.')[-1]}\b", *(rf"\b{name}=" for name in re.findall(r"(\w+)=", arguments))]


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_each_row_names_what_to_write_and_a_test_runs_it(page: Path) -> None:
    """Or refers to the page that shows it, or denies that anything is to be written."""
    for row in rows(page):
        spans = [span for span in re.findall(r"`([^`]+)`", row) if not span.startswith('"')]
        assert spans or "](" in row or row.strip().startswith("nothing"), row
        for wanted in (pattern for span in spans for pattern in in_use(span)):
            assert re.search(wanted, run_code()), f"{row.strip()}: no test and no block has {wanted}"


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_the_other_systems_code_is_python(page: Path) -> None:
    """It can't be run here: it needs the other system."""
    [code] = re.findall(r"^```py\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert ast.parse(code).body


def _on(queue: str) -> Callable[[], object]:
    return lambda: zerog.App(datastore="memory://", queue=queue)


def _submitted(**options: Any) -> Callable[[], object]:
    """A submit with an option that ``submit`` of other systems has; it is refused before the job is looked for."""
    return lambda: zerog.App("memory://").submit("any", **options)


DENIED: dict[str, list[Callable[[], object]]] = {
    "Graphs of tasks": [_submitted(depends_on=[])],
    "An HTTP API": [lambda: import_module("zerog.web")],
    "AMQP, Kafka, NATS, SQS and Pub/Sub": [_on(f"{scheme}://localhost") for scheme in ("amqp", "kafka", "nats", "sqs")],
    "Messages of foreign programs as jobs": [lambda: zerog.App("memory://").queue.put('{"book": "Emma"}')],
    "Replies to a channel": [_submitted(reply_to="answers")],
    "Slots that follow the machine's load": [lambda: zerog.Worker(zerog.App("memory://"), concurrency="auto")],  # type: ignore[arg-type]
}
"""What a page says isn't there, and uses of it that all fail."""


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_what_is_called_absent_is(page: Path) -> None:
    """A page that was written before a feature is mended with it."""
    absent = page.read_text().partition("## What is not there")[2]
    found = [what for what in DENIED if f"- {what}" in absent]
    for use in (use for what in found for use in DENIED[what]):
        with pytest.raises((TypeError, ImportError, zerog.ConfigurationError, InvalidValue, InvalidUuid)):
            use()
