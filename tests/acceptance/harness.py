"""Real worker processes on one file, to be killed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zerog
from tests.preloaded import StartedProgram
from tests.processes import stretched
from tests.programs import python
from zerog.records.job import STATUSES

ROOT = Path(__file__).parents[2]


class Workers:
    """Worker processes that are started, killed and ended by this test, each by its pid. Use as ``with``."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        module: str | None = "tests.acceptance.jobs",
        url: str | None = None,
        queue: str | None = None,
    ) -> None:
        """``module`` has the app; None if each worker is started on its own code, by ``start(code=…)``.

        ``url``: of the datastore and queue, a file in the folder by default. ``queue``: of a queue elsewhere.
        """
        self.url = url or f"sqlite:///{folder}/jobs.db"
        self._queue = queue
        self.log = folder / "workers.log"
        self.running: list[StartedProgram | subprocess.Popen[bytes]] = []
        self._options = options
        os.environ["ZEROG_URL"] = self.url
        self.app = zerog.App(self.url) if queue is None else zerog.App(datastore=self.url, queue=queue)
        self._module = module
        if module is not None:
            classes = importlib.import_module(module).app.registry.get_registered_classes()
            self.app.register(*classes.values())

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_exception: object) -> None:
        for worker in self.running:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.app.close()

    def start(self, *options: str, code: Path | None = None) -> StartedProgram:
        """Start one more worker; ``code`` is a file with the app that it runs instead of the usual one."""
        worker = python().start(
            *self._arguments(*options, code=code),
            folder=ROOT if code is None else code.parent,
            log=self.log,
            environment={**self._environment(), "PYTHONPATH": str(ROOT)},
        )
        self.running.append(worker)
        return worker

    def start_elsewhere(self, code: Path, path: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one by a new Python, with the ZeroG on its own path."""
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, *self._arguments(code=code)],
                cwd=code.parent,
                env={**self._environment(), "PYTHONPATH": path, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self.running.append(worker)
        return worker

    def _arguments(self, *options: str, code: Path | None) -> list[str]:
        module = self._module if code is None else code.stem
        return ["-m", "zerog", "worker", f"{module}:app", *self._options, *options]

    def _environment(self) -> dict[str, str]:
        if self._queue is None:
            return {**os.environ, "ZEROG_URL": self.url}
        others = {name: value for name, value in os.environ.items() if name != "ZEROG_URL"}
        return {**others, "ZEROG_DATASTORE": self.url, "ZEROG_QUEUE": self._queue}

    def kill(self, worker: StartedProgram | subprocess.Popen[bytes]) -> None:
        """SIGKILL one worker."""
        worker.kill()
        worker.wait()
        self.running.remove(worker)

    def counts(self) -> dict[str, int]:
        """Jobs by status."""
        sqlite = getattr(self.app.datastore, "file", None)
        if sqlite is None:
            return {status: self.app.count(status=status, cap=100_000).number for status in STATUSES}
        with sqlite.reading() as connection:
            rows = connection.execute(
                "SELECT status, count(*) FROM zerog_documents WHERE key LIKE 'zerog_job_%' GROUP BY status"
            )
            return dict.fromkeys(STATUSES, 0) | dict(rows)

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Return what ``condition`` answers once it is true; fail, with the workers' output, if it isn't in time."""
        deadline = time.monotonic() + stretched(seconds)
        while not (answer := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {self.counts()}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)  # the pace of polling, not a wait for the thing itself
        return answer

    def until_ended(self, number: int, seconds: float = 60.0) -> dict[str, int]:
        """Wait until ``number`` jobs have ended; return the counts."""

        def ended() -> dict[str, int] | None:
            counts = self.counts()
            done = counts["succeeded"] + counts["failed"] + counts["cancelled"]
            # Counted anew: counts of a status each are no snapshot, and a job may have moved meanwhile.
            return self.counts() if done >= number else None

        result: dict[str, int] = self.until(ended, seconds)
        return result


def run_worker(folder: Path, app: str, *options: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """A worker run to its end. ``streams``: its standard files; by default its output is captured."""
    streams = streams or {"capture_output": True, "text": True}
    command = [sys.executable, "-m", "zerog", "worker", app, *options]
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    return subprocess.run(command, cwd=folder, env=environment, timeout=60, check=False, **streams)
