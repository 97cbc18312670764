"""The app of the log tests: jobs that log something, or end in an unusual way. ZEROG_URL names its file."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog

shop = logging.getLogger("shop")


class Talking(zerog.BaseJob):
    """Logs in every way a job can, but not its password."""

    JOB_TYPE = "talking"

    class Params(Schema):
        password = fields.String(required=True)

    password: str

    def run(self) -> dict[str, Any]:
        self.job_log_info("recorded")
        shop.warning("from the shop's own logger")
        for number in range(500):
            print(f"{self.logId} prints {number}")
            print(f"{self.logId} complains {number}", file=sys.stderr)
        return {"length": len(self.password), "password": self.password}


class Twice(zerog.BaseJob):
    """Requests a second run, then raises, then succeeds."""

    JOB_TYPE = "twice"

    def run(self) -> Any:
        if self.attempts == 1:
            return zerog.NO_RESULT, 0.25
        if self.attempts == 2:
            self.raise_error_continue(503, "not yet", delay=0.1)
        return 201


class Raising(zerog.BaseJob):
    """Raises an unexpected exception."""

    JOB_TYPE = "raising"
    FINISH_ON = (ArithmeticError,)

    def run(self) -> float:
        return 1 / 0


class Long(zerog.BaseJob):
    """Runs until its worker stops."""

    JOB_TYPE = "long"

    class Params(Schema):
        started = fields.String(required=True)

    started: str

    def run(self) -> Any:
        Path(self.started).touch()
        while not self.stopping:
            time.sleep(0.01)
            self.tick()
        return zerog.NO_RESULT


app = zerog.App()
app.register(Talking, Twice, Raising, Long)
