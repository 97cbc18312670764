"""The show: submit, watch, kill a worker, watch the jobs continue, check the totals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import zerog
from zerog.cli.demo.texts import Totals, count, find_texts, path_of, read_text
from zerog.cli.follow import Bars
from zerog.query import readable_heads
from zerog.records.job import RUNNING, SUCCEEDED, TERMINAL
from zerog.records.keys import worker_key

JOBS = 6
LEASE = 3.0
"""Seconds without a heartbeat after which the jobs of the killed worker are taken: short, because a person watches."""

WORKER_OPTIONS = ("--executor", "process", "--concurrency", "2", "--lease", str(LEASE))

KILL_AT = 0.25
"""The worker is killed once one of its jobs has done this much."""

PATIENCE = 120.0
"""Seconds after which the show gives up on a job that doesn't end."""

LOOK = 0.1
"""Seconds between two polls of the jobs."""


class Show:
    """One performance, in its own temporary folder."""

    def __init__(self, console: Console, folder: Path | None) -> None:
        self.console = console
        self.folder = folder or Path(sysconfig.get_paths()["stdlib"])
        self.suffix = ".py" if folder is None else None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._killed: subprocess.Popen[bytes] | None = None

    def play(self) -> bool:
        """Run it all; return True if every job succeeded and the totals agree. Raises ConfigurationError."""
        files = self._files()
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zerog-demo-") as scratch, ExitStack() as cleanup:
            self._scratch = Path(scratch)
            self._url = f"sqlite:///{self._scratch}/demo.db"
            os.environ["ZEROG_URL"] = self._url
            from zerog.cli.demo.app import WordCount, app

            cleanup.callback(app.close)
            cleanup.callback(self._stop_workers)
            shares = [share for share in (files[n::JOBS] for n in range(JOBS)) if share]
            uuids = app.submit_many(WordCount, ({"folder": str(self.folder), "files": share} for share in shares))
            self._say(f"{len(uuids)} jobs submitted to {self._url}, counting {len(files)} files in {self.folder}")
            self._start_worker()
            self._start_worker()
            ended = self._watch(app, uuids)
            self._stop_workers()
            if not ended:
                self._show_why()
                return False
            return self._check(app, uuids, files, time.monotonic() - started)

    def _files(self) -> list[str]:
        if not self.folder.is_dir():
            raise zerog.ConfigurationError(f"{self.folder} is no folder; expected one with text files in it")
        files = find_texts(self.folder, self.suffix)
        if not files:
            raise zerog.ConfigurationError(f"{self.folder} has no text files below it; there is nothing to count")
        return files

    # workers

    def _start_worker(self) -> subprocess.Popen[bytes]:
        with (self._scratch / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "zerog", "worker", "zerog.cli.demo.app:app", *WORKER_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "ZEROG_URL": self._url},
            )
        self._workers.append(worker)
        self._say(f"worker {worker.pid} started")
        return worker

    def _stop_workers(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _kill_one(self, app: zerog.App, heads: list[dict[str, Any]]) -> bool:
        """Kill the worker of a job that has done KILL_AT; return False if there is none yet."""
        for head in heads:
            if head["status"] != RUNNING or not KILL_AT <= head["completeness"] < 0.9:
                continue
            record = app.datastore.read(worker_key(head["owner"]["worker"])) or {}
            for worker in self._workers:
                if worker.pid == record.get("pid") and worker.poll() is None:
                    worker.send_signal(signal.SIGKILL)
                    worker.wait()
                    self._killed = worker
                    self._say(
                        f"[bold red]worker {worker.pid} killed with SIGKILL[/]; "
                        f"its jobs wait until its lease of {LEASE:.0f} s is over"
                    )
                    self._start_worker()
                    return True
        return False

    # watching

    def _watch(self, app: zerog.App, uuids: list[str]) -> bool:
        """Draw the bars until every job has ended; return False if one takes too long."""
        deadline = time.monotonic() + PATIENCE
        with Bars(self.console) as bars:
            self._bars = bars
            for number, uuid in enumerate(uuids, 1):
                bars.add(uuid, f"word_count {number}")
            while True:
                heads = readable_heads(app.datastore, uuids)
                for head in heads.values():
                    waits = head["status"] == RUNNING and self._belongs_to_killed(head)
                    bars.update(app.registry.progress(head, app.clock.now()), "its worker is dead" if waits else "")
                if all(head["status"] in TERMINAL for head in heads.values()):
                    del self._bars
                    return True
                if time.monotonic() > deadline:
                    del self._bars
                    return False
                if self._killed is None:
                    self._kill_one(app, [*heads.values()])
                time.sleep(LOOK)

    def _belongs_to_killed(self, head: dict[str, Any]) -> bool:
        return self._killed is not None and f"-{self._killed.pid}-" in head["owner"]["worker"]

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False)

    def _show_why(self) -> None:
        self._say(f"[bold red]not every job ended within {PATIENCE:.0f} s[/]; the last lines of the workers:")
        self._say((self._scratch / "workers.log").read_text()[-2000:])

    # checking

    def _check(self, app: zerog.App, uuids: list[str], files: list[str], seconds: float) -> bool:
        table = Table(title="What the jobs counted", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("job", "status", "runs", "resumed", "files", "lines", "words", "letters"):
            table.add_column(name, justify="left" if name in ("job", "status") else "right", no_wrap=True)
        total = Totals()
        fine = True
        for number, uuid in enumerate(uuids, 1):
            info = app.info(uuid)
            output = app.get_job(uuid).get_data() or {}
            totals = Totals(**output)
            total = total.plus(totals)
            fine = fine and info["status"] == SUCCEEDED and info["result"] == 200
            resumed = [event["msg"].split()[3] for event in info["events"] if event["msg"].startswith("resumed")]
            cells = [f"{value:,}" for value in totals]
            table.add_row(str(number), info["status"], str(info["attempts"]), ", ".join(resumed), *cells)
        expected = self._count_plainly(files)
        table.add_section()
        table.add_row("all", "", "", "", *(f"{value:,}" for value in total))
        table.add_row("plain count", "", "", "", *(f"{value:,}" for value in expected))
        self.console.print(table)
        known = sum(1 for _ in app.jobs())
        return self._verdict(fine and known == len(uuids), total == expected, seconds)

    def _count_plainly(self, files: list[str]) -> Totals:
        """Return the same figures by a simple loop, without jobs."""
        total = Totals()
        for name in track(files, "counting once more, without jobs", console=self.console, transient=True):
            try:
                total = total.plus(count(read_text(path_of(self.folder, name))))
            except OSError:
                continue
        return total

    def _verdict(self, ended_well: bool, agrees: bool, seconds: float) -> bool:
        if self._killed is None:
            self._say("The jobs were done before a worker could be killed; try a folder with more text.")
        if ended_well and agrees:
            self._say(f"[bold green]The totals agree[/]: no job lost, none counted twice ({seconds:.1f} s).")
            return True
        problem = "the totals differ from the plain count" if ended_well else "not every job succeeded"
        self._say(f"[bold red]Something is wrong[/]: {problem}.")
        return False
