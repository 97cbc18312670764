"""The app that the worker processes of these tests run; the environment names its datastore and its queue."""

from __future__ import annotations

import os
import time
from pathlib import Path

from marshmallow import Schema, fields

import zerog


class Line(zerog.BaseJob):
    """Adds a line with its process id to a file; waits meanwhile for another file, if it has the name of one."""

    JOB_TYPE = "line"

    class Params(Schema):
        path = fields.String(required=True)
        until = fields.String(load_default="")

    def run(self):
        with Path(self.path).open("a") as file:
            file.write(f"{self.uuid} {os.getpid()} {os.getppid()}\n")
        deadline = time.monotonic() + 120
        while self.until and not Path(self.until).exists() and time.monotonic() < deadline:
            time.sleep(0.02)  # the work of this job
        return {"pid": os.getpid()}


class Twice(zerog.BaseJob):
    """Requests a second run, after a while."""

    JOB_TYPE = "twice"

    class Params(Schema):
        delay = fields.Float(load_default=0.0)

    def run(self):
        return (zerog.NO_RESULT, self.delay) if self.attempts < 2 else 200


class Fails(zerog.BaseJob):
    JOB_TYPE = "fails"
    MAX_ERRORS = 1

    def run(self):
        raise ValueError("no luck today")


class Patient(zerog.BaseJob):
    """Works until its worker shuts down."""

    JOB_TYPE = "patient"

    class Params(Schema):
        path = fields.String(required=True)

    def run(self):
        with Path(self.path).open("a") as file:
            file.write(f"{self.uuid} {os.getpid()} {os.getppid()}\n")
        deadline = time.monotonic() + 60
        while not self.stopping and time.monotonic() < deadline:
            time.sleep(0.02)  # the work of this job
        return zerog.NO_RESULT if self.stopping else 500


class Ticking(zerog.BaseJob):
    """Ticks until it is stopped."""

    JOB_TYPE = "ticking"
    MAX_ERRORS = 1

    class Params(Schema):
        path = fields.String(required=True)

    def run(self):
        with Path(self.path).open("a") as file:
            file.write(f"{self.uuid} {os.getpid()} {os.getppid()}\n")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.keep_alive()
            time.sleep(0.02)  # the work of this job


class Limited(Ticking):
    JOB_TYPE = "limited"
    SOFT_TIMEOUT = 0.5


class Stopped(Ticking):
    JOB_TYPE = "stopped"
    ON_SHUTDOWN = "stop"


class Shares(zerog.BaseJob):
    """Uses a resource that leaves a line in a file when it is closed."""

    JOB_TYPE = "shares"

    def run(self):
        return {"shared": self.resources.lines}


def lines():
    file = Path(os.environ["ZEROG_TEST_CLOSED"])
    yield str(file)
    with file.open("a") as closed:
        closed.write("closed\n")


app = zerog.App(datastore=os.environ["ZEROG_TEST_DATASTORE"], queue=os.environ["ZEROG_TEST_QUEUE"])
app.register(Line, Twice, Fails, Patient, Ticking, Limited, Stopped, Shares)
app.resource("lines", lines)
