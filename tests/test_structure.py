"""Limits of the code's structure. ``python -m tests.structure`` prints the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure import ROOT, foreign_privates, functions, imported, modules, report

LARGEST_FILE = 400
LONGEST_FUNCTION = 50
AT_THE_TOP = 12
"""Modules beside the packages: what a program imports."""

MOST_PRIVATES = 20
"""Uses of another object's privates."""

WIDEST = 21
"""Modules of the package that one imports. Not to grow."""


def test_files_are_short() -> None:
    assert [(module.name, module.lines) for module in modules() if module.lines > LARGEST_FILE] == []


def test_test_files_are_short() -> None:
    paths = [*Path(__file__).parent.rglob("*.py"), *(ROOT / "testing").rglob("*.py")]
    tests = {path: len(path.read_text().splitlines()) for path in paths}
    assert {str(path): lines for path, lines in tests.items() if lines > LARGEST_FILE} == {}


def test_functions_are_short() -> None:
    assert [f for module in modules() for f in functions(module) if f.lines > LONGEST_FUNCTION] == []


def test_the_top_holds_what_programs_import() -> None:
    assert len(list(ROOT.glob("*.py"))) <= AT_THE_TOP


def test_what_is_private_to_others_is_rarely_used() -> None:
    assert len([use for module in modules() for use in foreign_privates(module)]) <= MOST_PRIVATES


def test_no_module_imports_more_than_before() -> None:
    names = {module.name for module in modules()}
    assert max(len(imported(module, names)) for module in modules()) <= WIDEST


def test_no_module_imports_itself_on_a_detour() -> None:
    """When it runs; imports for types alone don't count."""
    names = {module.name for module in modules()}
    graph = {module.name: imported(module, names) for module in modules()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            pytest.fail(" -> ".join([*way[way.index(name) :], name]))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_report_names_every_package() -> None:
    lines = report().splitlines()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"testing"}
    assert packages <= {line.split()[0] for line in lines if line}
