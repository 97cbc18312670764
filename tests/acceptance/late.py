"""Jobs whose first run waits at a gate and then continues as if nothing happened; and workers that wait at a point."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.support import failpoints


class Gated(zerog.BaseJob):
    """The first run marks that it has begun, waits for the gate, writes or not, and returns; any other just returns."""

    JOB_TYPE = "gated"

    class Params(Schema):
        marks = fields.String(required=True)
        writes = fields.Boolean(load_default=False)

    marks: str
    writes: bool

    def run(self) -> dict[str, Any]:
        run = self.attempts
        if run == 1:
            Path(self.marks, f"begun-{self.uuid}").touch()
            while not Path(self.marks, "gate").exists():
                time.sleep(0.02)
            Path(self.marks, f"late-{self.uuid}").touch()
            if self.writes:
                self.record_event("from the late run")
        return {"run": run}


class Holding(zerog.BaseJob):
    """The first run holds the interpreter's lock for ``seconds``, as C code may."""

    JOB_TYPE = "holding"

    class Params(Schema):
        marks = fields.String(required=True)
        seconds = fields.Float(required=True)

    marks: str
    seconds: float

    def run(self) -> dict[str, Any]:
        run = self.attempts
        if run == 1:
            Path(self.marks, f"begun-{self.uuid}").touch()
            ctypes.PyDLL(None).usleep(int(self.seconds * 1e6))
            Path(self.marks, f"late-{self.uuid}").touch()
        return {"run": run}


class Counted(zerog.BaseJob):
    """Leaves one file per run, once ``processes`` processes have begun a run."""

    JOB_TYPE = "counted"

    class Params(Schema):
        marks = fields.String(required=True)
        processes = fields.Integer(load_default=1)

    marks: str
    processes: int

    def run(self) -> int:
        begun = Path(f"{self.marks}-begun")
        begun.mkdir(exist_ok=True)
        (begun / str(os.getpid())).touch()
        while len(os.listdir(begun)) < self.processes:
            time.sleep(0.02)
        Path(self.marks, f"{self.uuid}-{self.attempts}-{os.urandom(4).hex()}").touch()
        return 200


def wait_there(point: str) -> None:
    """Mark the first end of a run that is about to be stored, and wait there until the mark is gone."""
    if point == os.environ["ZEROG_TEST_WAIT_AT"]:
        failpoints.disarm()
        mark = Path(os.environ["ZEROG_TEST_MARK"])
        mark.touch()
        while mark.exists():
            time.sleep(0.01)


app = zerog.App(os.environ.get("ZEROG_URL", "memory://"))
app.register(Gated, Holding, Counted)
if os.environ.get("ZEROG_TEST_WAIT_AT"):
    failpoints.watch(wait_there)
