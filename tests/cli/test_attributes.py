"""``--attr`` of the commands for jobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog

BOOKS = """
import zerog

app = zerog.App("sqlite:///books.db")

class Found(zerog.BaseJob):
    ATTRIBUTES = ("customer", "year")

@app.job("book", base=Found)
def book(job, customer: str, year: int):
    pass
"""


def test_the_commands_filter_by_attributes(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several must all fit, and a text may have the sign in it."""
    Path("books.py").write_text(BOOKS)
    monkeypatch.delitem(sys.modules, "books", raising=False)
    for customer, year in (("a=b", "1"), ("a=b", "2"), ("c", "2")):
        assert zerog("submit", "books:app", "book", f"customer={customer}", f"year={year}").exit_code == 0
    listed = zerog("jobs", "ls", "books:app", "--attr", "customer=a=b", "--attr", "year=2", "--json")
    [found] = map(json.loads, listed.stdout.splitlines())
    assert "customer=a=b, year=2" in zerog("jobs", "show", "books:app", found["uuid"]).stdout
    assert zerog("jobs", "cancel", "books:app", "--attr", "year=2", "--yes").stdout == "2 jobs cancelled.\n"
    assert zerog("jobs", "ls", "books:app", "--attr", "year=3", "--json").stdout == ""


@pytest.mark.parametrize("text", ["customer", "=42"])
def test_a_filter_that_is_no_attribute(shop: Shop, zerog: Zerog, text: str) -> None:
    """It is named, with what was expected."""
    result = zerog("jobs", "ls", "myapp:app", "--attr", text)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "expected NAME=TEXT" in result.stderr


@pytest.mark.parametrize("command", [["jobs", "ls"], ["jobs", "errors"], ["jobs", "retry", "--yes"]])
def test_an_attribute_that_no_class_has(
    shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """It is named with those that there are; a URL has no classes to check it by, which a hint says."""
    Path("books.py").write_text(BOOKS)
    monkeypatch.delitem(sys.modules, "books", raising=False)
    result = zerog(*command[:2], "books:app", *command[2:], "--attr", "custmer=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no registered class has the attribute 'custmer'" in result.stderr
    assert "customer (book), year (book)" in result.stderr


def test_a_url_has_no_classes_to_check_an_attribute_by(shop: Shop, zerog: Zerog) -> None:
    """So nothing is refused, and a hint says what finding nothing may mean."""
    for command, answer in (("ls", "No jobs.\n"), ("errors", "No failures.\n")):
        result = zerog("jobs", command, "sqlite:///jobs.db", "--attr", "custmer=1")
        assert (result.exit_code, result.stdout) == (0, answer)
        assert "whether there is an attribute custmer was not checked" in result.stderr
