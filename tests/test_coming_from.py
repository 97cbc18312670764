"""The pages for users of other systems: every name of ZeroG in their tables exists."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import zerog
from tests.test_docs import PAGES

COMING_FROM = [page for page in PAGES if page.name.startswith("from_")]
COMMAND = "zerog "
"""What a command begins with; ``tests/test_docs.py`` checks those."""


def names(page: Path) -> list[str]:
    """The code in the second column of a page's table, but for commands and texts."""
    columns = re.findall(r"^\|[^|]+\|([^|]+)\|$", page.read_text(), re.MULTILINE)
    spans = [span for column in columns for span in re.findall(r"`([^`]+)`", column)]
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


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_the_other_systems_code_is_python(page: Path) -> None:
    """It can't be run here: it needs the other system."""
    [code] = re.findall(r"^```py\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert ast.parse(code).body
