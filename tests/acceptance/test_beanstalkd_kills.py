"""Workers and the beanstalkd that has their queue killed with SIGKILL, and the books afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.kills import Plan, ServerKillRun
from tests.backends.beanstalkd.servers import started

WITH_LOG, WITHOUT_LOG = ("-b", ".", "-f", "0"), ()
BOTH = ("thread", "process")


@pytest.mark.parametrize(
    ("options", "plan", "server_kills"),
    [
        pytest.param(WITH_LOG, Plan(1_000, 8, BOTH), 2, id="with its log"),
        pytest.param(WITHOUT_LOG, Plan(1_000, 8, BOTH), 2, id="without"),
        pytest.param(
            WITH_LOG,
            Plan(10_000, 100, BOTH),
            3,
            id="hundred",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.wide
def test_killed_workers_and_servers_lose_nothing(
    options: tuple[str, ...], plan: Plan, server_kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every result is there, right, and written once, also if the server loses its queues twice."""
    server = started(*options)
    try:
        books = ServerKillRun(tmp_path, plan, server, server_kills, queue=server.url(timeout=2)).run()
    finally:
        server.kill()
    with capsys.disabled():
        print(f"\nsqlite and beanstalkd {' '.join(options)}, server killed {server_kills} times: {books.table()}")
    assert (books.lost, books.failed, books.wrong, books.missing) == (0, 0, [], 0)
    assert books.cut_off > 0, "no kill hit a running job; the test shows nothing"
    assert books.runs == plan.jobs + books.cut_off
