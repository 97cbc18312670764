"""Divides the suite in two: ``-p tests.measured --measured only`` runs the tests by which branches are counted.

``--measured not`` runs all the others, so that no test need run in both.
"""

from __future__ import annotations

import os
import sys

import pytest

FOLDERS = (
    "tests/engine/",
    "tests/maintenance/",
    "tests/support/test_failpoints.py",
    "tests/test_limits.py",
    "tests/test_unique.py",
    "tests/worker/test_settling.py",
    "tests/backends/redis/test_engine.py",
    "tests/backends/redis/test_takes.py",
    "tests/backends/sqlite/test_engine.py",
)

LEFT_OUT = (
    *(f"tests/engine/test_{name}.py" for name in ("kill_pairs", "figures", "machine", "joblog", "edit", "submit")),
    "tests/engine/test_faults.py",
    *("two_faults", "kill_at_any_point", "couchbase", "olderredis", "oldestredis", "redishere", "redisapart"),
    *("testrq", "beanstalkd"),
)
"""They pass no branch that the others don't, and take long."""

ON_POSTGRES = tuple(
    f"tests/backends/postgres/test_{name}.py" for name in ("engine", "answers", "decision", "rare_ways", "server")
)

# Only the processes that run tests are measured, not those that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def is_measured(item: pytest.Item) -> bool:
    """Return True for a test by which branches are counted."""
    name = item.nodeid
    if name.startswith(ON_POSTGRES):
        # The whole contract, on one version of the server.
        return not item.get_closest_marker("wide") or ("engine.py::TestPostgres" in name and "debian" in name)
    return name.startswith(FOLDERS) and not any(word in name.lower() for word in LEFT_OUT)


def pytest_sessionfinish() -> None:
    """Write what was counted: a process that needs long for its exit is killed by the one that started it."""
    if "coverage" in sys.modules and (running := sys.modules["coverage"].Coverage.current()):
        running.stop()
        running.save()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--measured", choices=["only", "not"], required=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out one half."""
    wanted = config.option.measured == "only"
    config.hook.pytest_deselected(items=[item for item in items if is_measured(item) != wanted])
    items[:] = [item for item in items if is_measured(item) == wanted]
