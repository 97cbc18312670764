"""Errors of a worker's system instead of the datastore's: no thread, no process."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zerog
from tests.forks import in_a_fork
from tests.processes import alive, until
from tests.worker.builders import Body, Running, short_lease
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settled
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.worker import fetcher
from zerog.worker.executors import choice, forkserver
from zerog.worker.executors.forkserver import ForkServer
from zerog.worker.executors.pool import DaemonThreadPool
from zerog.worker.pace import Pace


@pytest.fixture
def app() -> zerog.App:
    return zerog.App("memory://")


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[zerog.App]:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    yield app
    app.close()


def add(app: zerog.App, run: Body, job_type: str = "made") -> str:
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": job_type, "run": run}))
    return app.submit(job_type).uuid


def no_process(*_: Any) -> Any:
    raise OSError(errno.EAGAIN, "made up: no process")


def test_an_error_of_the_system_does_not_end_the_lease(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else would renew it, and the worker would neither work nor end."""
    renew, calls = WorkerRecords.renew, 0

    def failing(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EMFILE, "made up: too many open files")
        return renew(*arguments)

    monkeypatch.setattr(WorkerRecords, "renew", failing)
    with Running(app, lease=0.5):
        until(lambda: calls > 4)
        assert app.wait(add(app, lambda job: 200), 10).status == "succeeded"
    assert "made up: too many open files" in caplog.text


def test_a_first_renewal_that_fails_leaves_nothing_behind(on_file: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are handled as before, and the process that forks children has ended."""
    add(on_file, lambda job: 200)
    worker = zerog.Worker(on_file, executor="process", connect_retries=0)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    made: list[ForkServer] = []
    monkeypatch.setattr(choice, "ForkServer", lambda child: made.append(ForkServer(child)) or made[0])

    def failing(*_: Any) -> None:
        raise DatastoreUnavailable("made up: away")

    monkeypatch.setattr(WorkerRecords, "renew", failing)
    with pytest.raises(DatastoreUnavailable):
        worker.run(burst=True)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert until(lambda: not alive(made[0].pid))


# no thread, no process


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that could not be started: the next ones whose names begin with the first entry."""
    names: list[str] = []
    start = threading.Thread.start

    def failing(thread: threading.Thread) -> None:
        if names and thread.name.startswith(names[-1]):
            names.pop()
            raise RuntimeError("made up: can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    return names


def test_a_job_without_a_thread_is_given_back_and_runs_later(app: zerog.App, refused: list[str]) -> None:
    uuids = [add(app, lambda job: 200), app.submit("made").uuid, app.submit("made").uuid]
    refused.append("zerog-slot")
    with Running(app, executor="async", concurrency=2):
        jobs = [app.wait(uuid, 20) for uuid in uuids]
    assert [(job.status, job.attempts, job.lost) for job in jobs] == [("succeeded", 1, 0)] * 3
    assert refused == []


def test_a_pool_that_gets_no_second_thread_uses_the_first(refused: list[str]) -> None:
    pool = DaemonThreadPool(2, "made")
    go = threading.Event()
    first = pool.submit(go.wait, 20)
    refused.append("made")
    second = pool.submit(lambda: 2)
    go.set()
    assert (first.result(20), second.result(20), refused) == (True, 2, [])
    pool.shutdown()


def test_a_job_without_a_process_is_given_back_and_runs_later(
    on_file: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = add(on_file, lambda job: 200)
    fork, calls = ForkServer.fork, []

    def failing(self: ForkServer) -> Any:
        calls.append(1)
        return no_process() if len(calls) == 1 else fork(self)

    monkeypatch.setattr(ForkServer, "fork", failing)
    with Running(on_file, executor="process"):
        job = on_file.wait(uuid, 20)
    assert (job.status, job.attempts, job.lost, job.crashes) == ("succeeded", 1, 0, 0)


def test_a_fork_that_fails_is_logged_and_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its_own = socket.socketpair()
    theirs, other = socket.socketpair()
    socket.send_fds(ours, [b"f"], [other.fileno()])
    with ours, its_own, theirs, other:

        def serve() -> None:
            os.fork = no_process  # type: ignore[assignment]
            forkserver._serve(its_own, lambda connection: None, set())

        assert in_a_fork(serve) == 0
        assert ours.recv(100) == b'{"born": -%d}\n' % errno.EAGAIN
    teller: Any = SimpleNamespace(
        _forking=threading.Lock(), _changed=threading.Condition(), _socket=None, _born=[-errno.EAGAIN], _gone=False
    )
    monkeypatch.setattr(socket, "send_fds", lambda *_: None)
    with pytest.raises(BlockingIOError):
        ForkServer.fork(teller)


# a lost lease


def test_what_was_claimed_ahead_does_not_begin_after_the_lease_was_lost(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is released instead: another worker may have it already."""
    ran: list[str] = []
    began, go, away = threading.Event(), threading.Event(), threading.Event()
    renew = WorkerRecords.renew

    def failing(*arguments: Any) -> int:
        if away.is_set():
            raise DatastoreUnavailable("made up: away")
        return renew(*arguments)

    def slow(job: Any) -> None:
        began.set()
        assert go.wait(20)

    monkeypatch.setattr(WorkerRecords, "renew", failing)
    monkeypatch.setattr(Pace, "ahead", lambda self, now: 3)
    monkeypatch.setattr(Pace, "may_wait", lambda self, job_type: True)
    monkeypatch.setattr(fetcher, "HOARDED", 60.0)
    add(app, slow, "slow")
    app.register(type("Quick", (zerog.BaseJob,), {"JOB_TYPE": "quick", "run": lambda job: ran.append(job.uuid)}))
    quick = [app.submit("quick").uuid for _ in range(3)]
    with Running(app, lease=short_lease(), grace=0.1):
        assert began.wait(20)
        until(lambda: all(app.progress(uuid)["status"] == "running" for uuid in quick))
        away.set()
        until(lambda: all(app.progress(uuid)["status"] == "queued" for uuid in quick))
        go.set()
        assert ran == []
        away.clear()
        jobs = [app.wait(uuid, 20) for uuid in quick]
    assert [(job.attempts, job.lost) for job in jobs] == [(1, 0)] * 3
    assert ran == quick, "in their order"


def test_a_task_that_has_not_begun_when_its_job_was_given_back_never_does(app: zerog.App) -> None:
    """Another job blocks the loop until the worker is gone."""
    ran: list[str] = []
    began, go = threading.Event(), threading.Event()

    async def blocking(job: Any) -> None:
        began.set()
        assert go.wait(20)

    async def other(job: Any) -> None:
        ran.append("other")

    first, second = add(app, blocking, "blocking"), add(app, other, "other")
    worker = zerog.Worker(app, executor="async", concurrency=2, grace=0.1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert began.wait(20)
    until(lambda: app.progress(second)["status"] == "running")
    worker.stop()
    thread.join(30)
    assert [app.progress(uuid)["status"] for uuid in (first, second)] == ["queued", "queued"]
    loop = [task.name for task in threading.enumerate() if task.name == "zerog-event-loop"]
    assert loop
    go.set()
    until(lambda: not any(task.name == "zerog-event-loop" for task in threading.enumerate()))
    assert ran == []


def test_jobs_that_were_stopped_are_counted_and_leave_no_record(app: zerog.App) -> None:
    """They were released, in their order, so there is no need to watch this worker any more."""
    go, began = threading.Event(), list[str]()

    def run(job: Any) -> None:
        began.append(job.uuid)
        assert go.wait(20)

    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run}))
    uuids = [app.submit("made").uuid for _ in range(3)]
    with Running(app, grace=0.0, concurrency=3) as running:
        until(lambda: len(began) == 3)
    name = running.worker.name
    assert running.stats is not None and running.stats.released == 3
    assert app.datastore.read(f"zerog_worker_{name}") is None
    order = [app.queue.reserve(0) for _ in uuids]
    go.set()
    assert [entry.uuid for entry in order if entry is not None] == uuids


# ends that can't be stored now


def test_an_error_of_the_system_does_not_rewrite_the_end_of_a_run(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the value causes does; anything else may pass, and is tried again."""
    uuid = add(app, lambda job: {"kept": 1})
    settle, errors = Engine.settle, [RuntimeError("made up"), OSError(errno.EMFILE, "made up"), RuntimeError("made up")]

    def failing(engine: Engine, settlements: Any) -> list[Settled]:
        if settlements and errors:
            raise errors.pop()
        return settle(engine, settlements)

    monkeypatch.setattr(Engine, "settle", failing)
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    job = app.get_job(uuid)
    assert (job.status, job.output, errors) == ("succeeded", {"kept": 1}, [])


# what it logs about itself


def test_a_worker_logs_which_types_it_can_run(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    """Each type that it meets and does not know is logged once, whatever number of jobs has it."""
    add(app, lambda job: 200, "strange")
    app.submit_many("strange", [{}, {}])
    app.unregister("strange")
    with caplog.at_level(logging.INFO, "zerog"):
        zerog.Worker(app).run(burst=True)
        add(app, lambda job: 200, "known")
        zerog.Worker(app).run(burst=True)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "no job type" in warnings[0]
    assert sum("'strange'" in line for line in warnings) == 1
    assert "it knows known" in caplog.text
