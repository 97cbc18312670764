"""Limits of the code's structure. ``python -m tests.structure`` prints the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure import ROOT, foreign_privates, functions, imported, modules, report
from tests.walks import walks

LARGEST_FILE = 400
LONGEST_FUNCTION = 50
AT_THE_TOP = 12
"""Modules beside the packages: what a program imports."""

MOST_PRIVATES = 20
"""Uses of another object's privates."""

WIDEST = 17
"""Modules of the package that one imports, but for FACADES."""

FACADES = {
    "zerog.app",
    "zerog.backends.postgres.datastore",
    "zerog.backends.postgres.writes",
    "zerog.backends.redis.engine",
    "zerog.cli.commands.schema",
    "zerog.cli.root",
    "zerog.engine.engine",
    "zerog.engine.operator",
    "zerog.maintenance.doctor",
    "zerog.maintenance.reconcile",
    "zerog.registry",
    "zerog.worker.execute",
    "zerog.worker.session",
}
"""Modules that bring others together: a door for users, a server's adapter, the parts of a worker or a sweep."""

WIDEST_FACADE = 21

WALKS = {"a job's whole life": 59, "tick": 17, "cancel": 19}
"""The most files that these calls pass on an SQLite file; see ``tests.walks``."""

NOT_USED = {
    "backends/sqlite/terms.py",
    "engine/limited.py",
    "engine/locks.py",
    "jobs/additions.py",
    "jobs/backlog.py",
    "jobs/concurrency.py",
    "jobs/indexed.py",
    "jobs/migrations.py",
    "jobs/size_limit.py",
    "jobs/skew.py",
    "jobs/unique.py",
    "middleware.py",
    "records/attrs.py",
    "records/limits.py",
    "webhooks/targets.py",
    "worker/executors/forkserver.py",
    "worker/executors/process.py",
}
"""Files of what a plain job doesn't use: limits, a unique key, attributes, a time-out, web hooks and the like."""


@pytest.fixture(scope="module")
def passed() -> dict[str, set[str]]:
    """The files of each walk, the fewest of three: a lock that is waited for, or a regular read, adds some."""
    rounds = [walks() for _ in range(3)]
    return {name: min((each[name] for each in rounds), key=len) for name in rounds[0]}


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


def test_few_modules_import_many() -> None:
    names = {module.name for module in modules()}
    wide = {module.name: len(imported(module, names)) for module in modules()}
    wide = {name: count for name, count in wide.items() if count > WIDEST}
    assert wide.keys() <= FACADES
    assert max(wide.values()) <= WIDEST_FACADE


@pytest.mark.parametrize("walk", WALKS)
def test_a_call_passes_few_files(passed: dict[str, set[str]], walk: str) -> None:
    assert len(passed[walk]) <= WALKS[walk], " ".join(sorted(passed[walk]))


def test_a_job_passes_no_file_of_what_it_does_not_use(passed: dict[str, set[str]]) -> None:
    assert not NOT_USED & passed["a job's whole life"]
    assert {name for name in NOT_USED if not (ROOT / name).exists()} == set()


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


def test_the_report_names_every_package(passed: dict[str, set[str]]) -> None:
    text = report()
    print(text, *(f"files of {name}: {len(files)}" for name, files in passed.items()), sep="\n")
    lines = text.splitlines()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"testing"}
    assert packages <= {line.split()[0] for line in lines if line}
