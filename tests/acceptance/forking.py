"""The app of the tests with jobs that fork processes by ``multiprocessing``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

from marshmallow import Schema, fields

import zerog
from tests.processes import leave

FORK = multiprocessing.get_context("fork")


def square(number: int) -> int:
    return number**2


def go_on(started: str) -> None:
    """Run for long, whatever signal arrives but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave(started, str(os.getpid()))
    time.sleep(300)


class Forks(zerog.BaseJob):
    """Forks in one of several ways."""

    JOB_TYPE = "forks"
    MAX_ERRORS = 1

    class Params(Schema):
        how = fields.String(required=True)
        started = fields.String(required=True)

    how: str
    started: str

    def run(self) -> int:
        if self.how == "terminate":
            process = FORK.Process(target=time.sleep, args=(300,))
            process.start()
            process.terminate()
            process.join()
            return 200 if process.exitcode == -signal.SIGTERM else 500
        if self.how == "pool":
            with FORK.Pool(2) as pool:
                return 200 if pool.map(square, range(3)) == [0, 1, 4] else 500
        FORK.Process(target=go_on, args=(self.started,), daemon=True).start()
        while not Path(self.started).exists():
            time.sleep(0.01)
        return 200


app = zerog.App()
app.register(Forks)
