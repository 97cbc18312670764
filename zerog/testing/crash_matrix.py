"""Kill a job's process at every crash point that it passes, and check how a healthy worker recovers it.

Each run happens in a forked child process that is really killed, on a separate SQLite file, with production's claim,
run, settle and reconcile; only time is simulated, so that leases and delays pass at once. ``crash_matrix`` is also a
pytest fixture, once ZeroG is installed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from zerog.app import App
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ZerogError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of
from zerog.jobs.secrets import redacted
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import TERMINAL, Document, make_key
from zerog.support import failpoints
from zerog.support.clock import SYSTEM, from_text
from zerog.testing.clock import ManualClock
from zerog.testing.inline import run_claim
from zerog.testing.isolation import adopt
from zerog.testing.reach import only
from zerog.worker.executors.thread import ThreadExecutor

LEASE = 30.0

MAX_TURNS = 1_000
"""Polls after which a job that never ends is given up."""

FIRST = "in the first run, without a crash"

Params = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]


@dataclass
class CrashReport:
    """The results of ``crash_matrix``. A point has its turn: ``run.write #2`` is the second write of the run."""

    killed: list[str] = field(default_factory=list)
    """The points at which the job was killed, in the order in which it passes them."""
    missed: list[str] = field(default_factory=list)
    """Points that the job passed in its first run only: its course varies."""


def crash_matrix(
    folder: Path,
    job_class: type[BaseJob],
    params: Params | None = None,
    *,
    app: App | None = None,
    resources: Mapping[str, Callable[[], Any]] | None = None,
    check: Callable[[Any], object] | None = None,
    same: Callable[[Any, Any], object] | None = None,
    timeout: float = 60.0,
) -> CrashReport:
    """Run a job once, then once per crash point it passed with its process killed there and another one finishing it.

    Raises AssertionError, naming the points and showing a document, unless each time the job is not lost, ends once,
    continues after a crash before its end, and has the first run's ``status``, ``resultCode`` and ``output``.
    ``same(job, first)`` replaces that comparison, and ``check(job)`` checks the finished job's other effects; both fail
    by raising AssertionError or returning False. ``params`` may be a function of a fresh, empty directory, for jobs
    that write files. ``app``: one whose classes, middleware and resources the job uses; its datastore is not touched.
    ``resources``: factories by name, in place of its resources if it is given. ``timeout``: seconds for each process.

    A job that uses another app than ``self.app`` gets ConfigurationError, unless that app is in memory.
    """
    matrix = _Matrix(folder, job_class, params, timeout, app, resources or {})
    points, first = matrix.first()
    report = CrashReport()
    wrong: list[str] = []
    shown = ""
    try:
        _verdict(first, first, check, same, FIRST)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{matrix.document()}") from error
    for index, point in enumerate(points):
        name = f"{point} #{points[: index + 1].count(point)}"
        when = f"after a crash at {name}"
        try:
            was_killed, job = matrix.crashed(point, points[:index].count(point), when)
            (report.killed if was_killed else report.missed).append(name)
            _verdict(job, first, check, same, when)
        except AssertionError as error:
            wrong.append(str(error))
            shown = shown or matrix.document()
    if wrong:
        listed = "\n".join(wrong)
        raise AssertionError(
            f"{listed}\n{len(wrong)} of {len(points)} crash points; the document of the first:\n{shown}"
        )
    if not report.killed:
        raise AssertionError(f"{job_class.JOB_TYPE} came by none of the crash points {points} a second time")
    return report


def _verdict(
    job: BaseJob,
    first: BaseJob,
    check: Callable[[Any], object] | None,
    same: Callable[[Any, Any], object] | None,
    when: str,
) -> None:
    """Check that a finished job is as expected. Raises AssertionError with ``when``."""
    if same is not None:
        _holds(lambda: same(job, first), "same", when)
    else:
        for name in ("status", "resultCode", "output"):
            is_now, was = getattr(job, name), getattr(first, name)
            if is_now != was:
                raise AssertionError(f"{when}: {name} is {is_now!r:.500}, without the crash it was {was!r:.500}")
    if check is not None:
        _holds(lambda: check(job), "check", when)


def _holds(check: Callable[[], object], name: str, when: str) -> None:
    try:
        verdict = check()
    except AssertionError as error:
        raise AssertionError(f"{when}: {name} failed: {error or traceback.format_exc()}") from error
    if verdict is False:
        raise AssertionError(f"{when}: {name} returned False")


class _Matrix:
    """One job class with its parameters; each run has its own directory and SQLite file."""

    def __init__(
        self,
        folder: Path,
        job_class: type[BaseJob],
        params: Params | None,
        timeout: float,
        app: App | None,
        resources: Mapping[str, Callable[[], Any]],
    ) -> None:
        self._folder = folder
        self._job_class = job_class
        self._params = params
        self._timeout = timeout
        self._app = app
        self._resources = resources
        self._place = folder
        self._uuid = ""

    def first(self) -> tuple[list[str], BaseJob]:
        """Return the points that the job passes undisturbed, and its end."""
        self._submit()
        passed: list[str] = []

        def live() -> None:
            failpoints.watch(passed.append)
            self._work("first")
            failpoints.disarm()
            (self._place / "points.json").write_text(json.dumps(passed))

        self._fork(live, FIRST)
        return json.loads((self._place / "points.json").read_text()), self._stored()[0]

    def crashed(self, point: str, skip: int, when: str) -> tuple[bool, BaseJob]:
        """Run the job once more, killed at a point; return whether it passed there, and the job at its end."""
        self._submit()

        def live() -> None:
            failpoints.arm(point, "kill", skip)
            self._work("first")

        was_killed = self._fork(live, when, may_be_killed=True)
        before = self._stored()[1]
        self._fork(lambda: self._work("second", days=1), when)
        job, after = self._stored()
        self._check_books(before, after, when)
        self._fork(lambda: self._deliver_again(days=2), when)
        if self._stored()[1] != after:
            raise AssertionError(f"{when}: a late delivery changed the job after its end")
        return was_killed, job

    def _check_books(self, before: Document, after: Document, when: str) -> None:
        if after["status"] not in TERMINAL:
            raise AssertionError(f"{when}: the job is lost; it is {after['status']} and no worker runs it")
        if after["owner"] is not None or after["finishedAt"] is None:
            raise AssertionError(f"{when}: the job is {after['status']} without having been settled")
        if before["status"] in TERMINAL:
            if before != after:
                raise AssertionError(f"{when}: the job had ended, and was changed afterwards")
            return
        runs = after["attempts"] - before["attempts"]
        cut_off = int(before["owner"] is not None)
        if runs < 1:
            raise AssertionError(f"{when}: the job ended as {after['status']} without running on")
        if after["lost"] - before["lost"] != cut_off:
            raise AssertionError(f"{when}: {cut_off} run was cut off, but lost is {after['lost']}")

    def document(self) -> str:
        """Return the whole stored document as text."""
        try:
            shown = redacted(self._stored()[1], declaration_of(self._job_class).secrets)
            return json.dumps(shown, indent=2, ensure_ascii=False)
        except (ZerogError, AssertionError) as error:
            return f"it can't be shown: {error}"

    def _submit(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._place = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
        own = self._place / "files"
        own.mkdir()
        params = self._params(own) if callable(self._params) else self._params
        app = self._open()
        self._uuid = app.submit(self._job_class, params).uuid
        app.close()

    def _open(self, days: int = 0) -> App:
        clock = ManualClock(SYSTEM.now() + timedelta(days=days))
        app = App(f"sqlite:///{self._place}/jobs.db", clock=clock)
        if self._app is None:
            app.register(self._job_class)
            for name, factory in self._resources.items():
                app.resource(name, factory)
        else:
            adopt(app, self._app, self._resources)
        return app

    def _stored(self) -> tuple[BaseJob, Document]:
        app = self._open()
        try:
            document = app.datastore.read(make_key(self._uuid))
            if document is None:
                raise AssertionError("the job is lost; its document is gone")
            return app.get_job(self._uuid), document
        finally:
            app.close()

    def _work(self, name: str, days: int = 0) -> None:
        """Run a worker with its reconciler, until the job has ended."""
        app = self._open(days)
        clock, engine = app.clock, app.engine
        assert isinstance(clock, ManualClock)
        worker = WorkerIdentity(name, LEASE, knows=app.registry.versions())
        reconciler = Reconciler(engine, name, clock)
        slots = ThreadExecutor(app, 1, LEASE, lambda *_: None, clock)
        for beat in range(1, MAX_TURNS + 1):
            head = engine.read(self._uuid)[0]
            if head["status"] in TERMINAL:
                app.close()
                return
            WorkerRecords(engine).renew(worker, beat)
            reconciler.sweep()
            claims = engine.claim(1, worker, app.registry.load_head)
            for claim in claims:
                with only(app):
                    run_claim(engine, slots, claim)
            if not claims:
                early = from_text(head["notBefore"]) - clock.now() if head["notBefore"] else timedelta()
                clock.advance(max(LEASE / 2, early.total_seconds()))
        raise AssertionError(f"the job is lost: it is {head['status']} after {MAX_TURNS} looks for work")

    def _deliver_again(self, days: int) -> None:
        """Deliver the job once more after its end, as a queue may do."""
        app = self._open(days)
        app.queue.put(self._uuid)
        Reconciler(app.engine, "late", app.clock).sweep()
        slots = ThreadExecutor(app, 1, LEASE, lambda *_: None, app.clock)
        for claim in app.engine.claim(
            1, WorkerIdentity("late", LEASE, knows=app.registry.versions()), app.registry.load_head
        ):
            with only(app):
                run_claim(app.engine, slots, claim)
        app.close()

    def _fork(self, live: Callable[[], None], when: str, may_be_killed: bool = False) -> bool:
        """Run ``live`` in a child process; return True if it was killed. Any other bad end raises AssertionError."""
        failure = self._place / "failure.txt"
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # The child runs only the job; it uses nothing that other threads of this process hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _live(live, failure)
        status = self._wait(pid, when)
        if status == 0 or (may_be_killed and status == -signal.SIGKILL):
            return status != 0
        words = failure.read_text() if failure.exists() else ""
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        raise AssertionError(f"{when}: the process that ran the job {how}\n{words}".rstrip())

    def _wait(self, pid: int, when: str) -> int:
        deadline = time.monotonic() + self._timeout
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise AssertionError(f"{when}: the process that ran the job did not end within {self._timeout} s")
            time.sleep(0.001)


def _live(live: Callable[[], None], failure: Path) -> None:
    """Live as a forked child. Never returns, and runs nothing that the parent would do at its own exit."""
    status = 1
    try:
        live()
        status = 0
    except BaseException:
        failure.write_text(traceback.format_exc())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
