"""Workers and the PostgreSQL server that they work on killed with SIGKILL, and the books afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.kills import KillRun, Plan
from tests.backends.postgres.servers import RunningServer, started


class PostgresKillRun(KillRun):
    """Kills the server, too, ``server_kills`` times, each time at the moment of a worker's death."""

    def __init__(self, folder: Path, plan: Plan, server: RunningServer, server_kills: int) -> None:
        super().__init__(folder, plan, server.url(timeout=2))
        self._server = server
        moments = range(plan.kills)
        self._down_at = set(self._random.sample(moments, server_kills))
        self._kills = iter(moments)

    def _kill(self, worker: subprocess.Popen[bytes]) -> None:
        if next(self._kills) in self._down_at:
            self._server.kill()
            self._server.start()
        super()._kill(worker)


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
    books = PostgresKillRun(tmp_path, plan, server, server_kills).run()
    with capsys.disabled():
        print(f"\npostgres, server killed {server_kills} times: {books.table()}")
    assert (books.lost, books.failed, books.wrong, books.missing) == (0, 0, [], 0)
    assert books.cut_off > 0, "no kill hit a running job; the test shows nothing"
    assert books.runs == plan.jobs + books.cut_off
