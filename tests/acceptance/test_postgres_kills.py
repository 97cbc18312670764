"""Workers and the PostgreSQL server that they work on killed with SIGKILL, and the books afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.kills import Plan, ServerKillRun
from tests.backends.postgres.servers import RunningServer, started


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server whose process alone dies, so what it has handed to the operating system stays."""
    server = started("debian")
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("plan", "server_kills"),
    [
        pytest.param(Plan(1_000, 8, ("thread", "process")), 2, id="few"),
        pytest.param(
            Plan(10_000, 100, ("thread", "process")),
            3,
            id="hundred",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.wide
def test_killed_workers_and_servers_lose_nothing(
    plan: Plan, server_kills: int, server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every result is there, right, and written once."""
    books = ServerKillRun(tmp_path, plan, server, server_kills, url=server.url(timeout=2)).run()
    with capsys.disabled():
        print(f"\npostgres, server killed {server_kills} times: {books.table()}")
    assert (books.lost, books.failed, books.wrong, books.missing) == (0, 0, [], 0)
    assert books.cut_off > 0, "no kill hit a running job; the test shows nothing"
    assert books.runs == plan.jobs + books.cut_off
