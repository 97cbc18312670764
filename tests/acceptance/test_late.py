"""Workers that are alive but late: other workers take their jobs, and what the late ones do then has no effect."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance.harness import Workers
from tests.backends.postgres.servers import url_for
from tests.marks import wide
from tests.preloaded import StartedProgram
from tests.processes import stat_of

AT_ONCE = 20


@pytest.fixture
def w(tmp_path: Path) -> Iterator[Workers]:
    options = ("--lease", "0.5", "--concurrency", str(AT_ONCE), "--grace", "5", "--log-level", "WARNING")
    with Workers(tmp_path, *options, module="tests.acceptance.late") as workers:
        yield workers


def marked(folder: Path, what: str) -> int:
    return len(list(folder.glob(f"{what}-*")))


def is_stopped(worker: StartedProgram) -> bool:
    return stat_of(worker.pid)[:1] == ["T"]


def end(worker: StartedProgram) -> None:
    worker.terminate()
    assert worker.wait(20) == 0


def documents(w: Workers, uuids: list[str]) -> list[dict[str, Any]]:
    return [w.app.datastore.read(f"zerog_job_{uuid}") for uuid in uuids]


def one_stop(w: Workers, folder: Path, where: str, executor: str) -> tuple[int, int]:
    """Twenty runs of a worker stopped for longer than its lease; return how many ran on, and what they changed.

    ``where``: ``run`` stops it while they run, ``write`` too and each writes once more, ``settle`` when they end.
    """
    folder.mkdir()
    mark = folder / "waits"
    if where == "settle":
        os.environ |= {"ZEROG_TEST_WAIT_AT": "settle.write", "ZEROG_TEST_MARK": str(mark)}
    late = w.start("--executor", executor)
    os.environ.pop("ZEROG_TEST_WAIT_AT", None)
    params = {"marks": str(folder), "writes": where == "write"}
    uuids = list(w.app.submit_many("gated", (params for _ in range(AT_ONCE))))
    w.until(lambda: marked(folder, "begun") == AT_ONCE)
    if where == "settle":
        (folder / "gate").touch()
        w.until(mark.exists)
    with w.app.datastore.file.writing():  # so that it stops outside its own transaction
        os.kill(late.pid, signal.SIGSTOP)
        w.until(lambda: is_stopped(late))
    other = w.start("--executor", "thread")
    w.until(lambda: all(w.app.progress(uuid)["status"] == "succeeded" for uuid in uuids))
    before = documents(w, uuids)
    (folder / "gate").touch()
    mark.unlink(missing_ok=True)
    os.kill(late.pid, signal.SIGCONT)
    w.until(lambda: marked(folder, "late") == AT_ONCE or executor == "process")
    end(late)
    end(other)
    after = documents(w, uuids)
    changed = sum(one != two for one, two in zip(before, after, strict=True))
    doubles = sum(document["output"] != {"run": 2} or document["lost"] != 1 for document in after)
    return marked(folder, "late"), changed + doubles


def stops(w: Workers, folder: Path, cases: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for number, (where, executor) in enumerate(cases):
        ran_on, doubles = one_stop(w, folder / f"{number}", where, executor)
        rows.append((where, executor, AT_ONCE, ran_on, doubles))
    with capsys.disabled():
        print("\nstopped at  executor  runs  ran on after SIGCONT  double effects")
        for where, executor, runs, ran_on, doubles in rows:
            print(f"{where:<11} {executor:<9} {runs:>4}  {ran_on:>20}  {doubles:>14}")
    assert [row[4] for row in rows] == [0] * len(rows)
    assert all(row[3] == AT_ONCE for row in rows if row[1] == "thread"), "runs that didn't go on show nothing"


@pytest.mark.parametrize("where", ["write", "settle"])
def test_a_worker_that_was_stopped_for_longer_than_its_lease_changes_nothing(
    where: str, w: Workers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP, takeover, SIGCONT: each job has the result of the second run, and nothing of the first one's end."""
    stops(w, tmp_path, [(where, "thread")], capsys)


@pytest.mark.slow
def test_200_runs_of_stopped_workers_change_nothing(
    w: Workers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [("run", "thread")] * 3 + [("write", "thread")] * 3 + [("settle", "thread")] * 2
    stops(w, tmp_path, [*cases, ("write", "process"), ("settle", "process")], capsys)


@pytest.mark.parametrize("executor", ["thread", *wide("process")])
@pytest.mark.wide
def test_code_that_holds_the_interpreter_s_lock(executor: str, w: Workers, tmp_path: Path) -> None:
    """In a thread it stops the heartbeat too, and the run is fenced; in a child the worker keeps the lease."""
    uuid = w.app.submit("holding", {"marks": str(tmp_path), "seconds": 8.0}).uuid
    # Long enough for another to start on a machine under load; which must not make a worker whose heartbeat continues
    # too late to keep the run.
    holder = w.start("--executor", executor, *(("--lease", "2.5") if executor == "process" else ()))
    w.until(lambda: marked(tmp_path, "begun") == 1)
    other = w.start("--executor", "thread", "--lease", "2.5")
    job = w.app.wait(uuid, 30)
    w.until(lambda: marked(tmp_path, "late") == 1)
    end(holder)
    end(other)
    if executor == "thread":
        assert (job.output, job.attempts, job.lost) == ({"run": 2}, 2, 1)
    else:
        assert (job.output, job.attempts, job.lost) == ({"run": 1}, 1, 0)
    assert w.app.get_job(uuid).output == job.output


@pytest.mark.parametrize("kind", ["sqlite", *wide("postgres")])
def test_deliveries_at_the_same_moment_run_each_job_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 300 jobs is on the queue four times, and eight workers claim concurrently."""
    url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else url_for(tmp_path)
    monkeypatch.setenv("ZEROG_URL", url)
    from tests.acceptance.late import Counted

    marks = tmp_path / "marks"
    marks.mkdir()
    apps = [zerog.App(url) for _ in range(8)]
    for app in apps:
        app.register(Counted)
    uuids = list(apps[0].submit_many("counted", ({"marks": str(marks)} for _ in range(300))))
    for _ in range(3):
        for uuid in uuids:
            apps[0].queue.put(uuid)
    ran: list[int] = []
    threads = [
        threading.Thread(target=lambda app=app: ran.append(zerog.Worker(app, concurrency=2).run(burst=True).ran))
        for app in apps
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for uuid in uuids:  # once more, when it is over
        apps[0].queue.put(uuid)
    ran.append(zerog.Worker(apps[0]).run(burst=True).ran)
    assert sum(ran) == 300 and ran[-1] == 0 and len(ran) == 9
    assert sorted(path.name[:36] for path in marks.iterdir()) == sorted(uuids)
    dropped = sum(app.engine.counters["dropped.succeeded"] + app.engine.counters["dropped.running"] for app in apps)
    assert dropped == 1_200
    for app in apps:
        app.close()
