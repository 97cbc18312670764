"""One key under fire: programs submit, run, retry, cancel, edit, move and remove its job, and are killed at any moment.

What is true is judged by a ledger outside of the datastore, one line a write.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.records.job import TERMINAL
from zerog.support.clock import SYSTEM, to_text
from zerog.worker.worker import Worker

PROCESSES, THREADS = 4, 4
"""Programs that submit, and threads in each."""

WORKERS = 3
LEASE = 4.0


class Ledger:
    """A file of lines that outlives every program."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, uuid: str, **more: Any) -> None:
        """Append a line, by one write."""
        line = json.dumps({"what": what, "uuid": uuid, "at": now(), **more})
        os.write(self._file, f"{line}\n".encode())


class Sync(zerog.BaseJob):
    """Run once at a time; fail now and then."""

    JOB_TYPE = "sync"
    UNIQUE = ("region",)
    RETAIN = RETAIN_FAILED = timedelta(seconds=2)
    BACKOFF = zerog.backoff.constant(0.01)

    class Params(Schema):
        region = fields.String(required=True)
        folder = fields.String(required=True)
        copies = fields.Integer(load_default=1)

    folder: str

    def run(self) -> int:
        ledger = Ledger(Path(self.folder))
        ledger.note("begin", self.uuid)
        time.sleep(random.uniform(0, 0.03))
        self.tick()
        if random.random() < 0.1:
            raise ValueError("now and then")
        ledger.note("end", self.uuid)
        return 200


def now() -> str:
    return to_text(SYSTEM.now())


def opened(folder: Path) -> zerog.App:
    app = zerog.App(f"sqlite:///{folder}/jobs.db?synchronous=normal")
    app.register(Sync)
    return app


def params(folder: Path) -> dict[str, Any]:
    return {"region": "north", "folder": str(folder)}


def submitting(folder: Path) -> None:
    """Submit for ever, by several threads."""
    app, ledger = opened(folder), Ledger(folder)

    def submit() -> None:
        while True:
            began = now()
            job = app.submit(Sync, params(folder))
            ledger.note("submit", job.uuid, began=began, is_new=job.is_new)
            time.sleep(random.uniform(0, 0.02))

    threads = [threading.Thread(target=submit) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    threads[0].join()


def working(folder: Path) -> None:
    """Work for ever."""
    Worker(opened(folder), concurrency=2, lease=LEASE).run()


def observing(folder: Path) -> None:
    """Note for ever which jobs of the key have ended."""
    app, ledger = opened(folder), Ledger(folder)
    while True:
        for job in app.jobs(order="newest", limit=3):
            if job["finishedAt"] is not None:
                ledger.note("ended", str(job["uuid"]), moment=job["finishedAt"])
        time.sleep(0.02)


def operating(app: zerog.App, folder: Path) -> None:
    """Do something to a job of the key, as an operator would; note each end that is taken away."""
    ledger = Ledger(folder)
    jobs = list(app.jobs(order="newest", limit=3))
    if not jobs:
        return
    job = random.choice(jobs)
    uuid, ended = str(job["uuid"]), job["finishedAt"]
    verb = random.choice(["retry", "discard", "cancel", "edit", "move"])
    if ended is not None:
        ledger.note("ended", uuid, moment=ended)
    with suppress(zerog.JobStateError, zerog.JobNotFound, zerog.CasMismatch, app.datastore.casException):
        if verb in ("retry", "discard"):
            ledger.note(verb, uuid)  # before it lives again
            getattr(app, verb)(uuid, ended=ended or "never")
        elif verb == "edit":
            app.edit(uuid, {"copies": random.randrange(9)}, who="anna", reason="more")
        elif verb == "move":
            app.move(uuid, priority=random.randrange(9))
        else:
            app.cancel(uuid)


def started(role: Callable[[Path], None], folder: Path) -> Any:
    """A copy of this process in a role."""
    process = multiprocessing.get_context("fork").Process(target=role, args=(folder,), daemon=True)
    process.start()
    return process


def under_fire(folder: Path, seconds: float) -> int:
    """Let all programs run and kill one after the other, each replaced at once; return how many were killed."""
    roles = [submitting] * PROCESSES + [working] * WORKERS + [observing]
    running: list[tuple[Callable[[Path], None], Any]] = []
    app, killed, end = opened(folder), 0, time.monotonic() + seconds
    try:
        running += ((role, started(role, folder)) for role in roles)
        while time.monotonic() < end:
            time.sleep(random.uniform(0.05, 0.3))
            operating(app, folder)
            if random.random() < 0.4:
                index = random.randrange(len(running))
                role, process = running[index]
                process.kill()
                process.join()
                killed += 1
                running[index] = role, started(role, folder)
    finally:
        for _, process in running:
            process.kill()
            process.join()
        app.close()
    return killed


def ledger_of(folder: Path) -> Iterator[dict[str, Any]]:
    for line in (folder / "ledger").read_text().splitlines():
        yield json.loads(line)


def drained(folder: Path) -> None:
    """Let one worker end what is left; note the ends."""
    app, ledger = opened(folder), Ledger(folder)
    with Worker(app, concurrency=2, lease=LEASE, signals=()):
        deadline = time.monotonic() + 120
        while any(job["status"] not in TERMINAL for job in app.jobs()):
            assert time.monotonic() < deadline, "a job of the key never ended"
            time.sleep(0.1)
    for job in app.jobs():
        ledger.note("ended", str(job["uuid"]), moment=job["finishedAt"])
    app.close()


def overlaps(folder: Path) -> list[str]:
    """Return where a run began while another job of the key had begun and not ended."""
    lines = list(ledger_of(folder))
    ends: dict[str, list[str]] = {}
    for line in lines:
        if line["what"] in ("ended", "end"):
            ends.setdefault(line["uuid"], []).append(line.get("moment") or line["at"])
    found, last = [], None
    for line in lines:
        if line["what"] != "begin":
            continue
        if last is not None and last["uuid"] != line["uuid"]:
            is_over = any(last["at"] <= moment <= line["at"] for moment in ends.get(last["uuid"], ()))
            is_removed = last["uuid"] not in ends  # by retention, which removes what has ended alone
            if not is_over and not is_removed:
                found.append(f"{line['uuid']} began at {line['at']} while {last['uuid']} was live")
        last = line
    return found


def joins_of_the_dead(folder: Path) -> tuple[list[str], int]:
    """Return which submits joined a job that was seen to have ended before they began, and how many could have.

    A job that was ever retried may live again.
    """
    lines = list(ledger_of(folder))
    retried = {line["uuid"] for line in lines if line["what"] == "retry"}
    seen: dict[str, str] = {}
    for line in lines:
        if line["what"] == "ended" and line["uuid"] not in retried:
            seen[line["uuid"]] = min(line["at"], seen.get(line["uuid"], line["at"]))
    return [
        f"{line['uuid']} was joined by a submit at {line['began']} and seen to have ended at {seen[line['uuid']]}"
        for line in lines
        if line["what"] == "submit" and not line["is_new"] and seen.get(line["uuid"], "z") < line["began"]
    ], len(seen)


@pytest.mark.slow
def test_one_job_of_a_key_lives_at_any_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever dies: one runs, every submit gets its uuid, and none joins one that had ended."""
    killed = under_fire(tmp_path, 45)
    drained(tmp_path)
    lines = list(ledger_of(tmp_path))
    submits = [line for line in lines if line["what"] == "submit"]
    made = {line["uuid"] for line in submits if line["is_new"]}
    begun = {line["uuid"] for line in lines if line["what"] == "begin"}
    with capsys.disabled():
        print(f"\n{len(submits)} submits got {len(made)} jobs, {len(begun)} of them ran; {killed} programs were killed")
    assert overlaps(tmp_path) == []
    joins, seen = joins_of_the_dead(tmp_path)
    assert joins == []
    assert seen >= 5
    assert killed >= 5
    assert len(begun) >= 10
    assert len(submits) > 2 * len(made)
