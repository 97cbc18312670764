"""The class of the golden documents, and the lives that they have had.

``python -m tests.golden.parcels FOLDER`` writes ``jobs.db`` in FOLDER, with a job of each status.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords


class Parcel(zerog.BaseJob):
    JOB_TYPE = "parcel"
    MAX_ERRORS = 1

    class Params(Schema):
        sender = fields.String(required=True)
        weight = fields.Float(load_default=1.5)

    class State(Schema):
        leg = fields.Integer(load_default=0)
        stops = fields.List(fields.String(), load_default=list)

    def run(self) -> Any:
        self.record_event("began")
        self.set_completeness(0.5)
        if self.sender == "fails":
            raise ValueError("no address")
        if self.sender == "hangs" and "FOLDER" in os.environ:
            os._exit(0)
        if self.leg == 0:
            self.update_attrs(leg=1, stops=["Köln"])
            self.raise_warning_continue(202, "on its way", delay=0.01)
        return {"sender": self.sender, "leg": self.leg}


LIVES = {
    "ends": "succeeded",
    "fails": "failed",
    "cancelled": "cancelled",
    "hangs": "running",
    "waits": "queued",
    "later": "scheduled",
}
"""Status of the job with each sender."""


def live(url: str) -> None:
    """Let a job of each status come to be. The one that hangs is left by a process that died."""
    app = zerog.App(url)
    _up_to_the_running_one(app)
    child = os.fork()
    if child == 0:
        os.environ["FOLDER"] = "1"
        other = zerog.App(url)
        other.register(Parcel)
        zerog.Worker(other, name="alice", build_id="b1").run(burst=True)
        os._exit(1)
    os.waitpid(child, 0)
    _those_that_wait(app)


def live_here(app: zerog.App) -> None:
    """The same where the queue is in this process; the one that hangs is claimed by a worker that has gone."""
    _up_to_the_running_one(app)
    alice = WorkerIdentity("alice", 30.0)
    WorkerRecords(app.engine).renew(alice, 1, lambda: {"queues": ["default"], "build": "b1"})
    assert len(app.engine.claim(1, alice, app.registry.load_head)) == 1
    _those_that_wait(app)


def _up_to_the_running_one(app: zerog.App) -> None:
    app.setup()
    app.register(Parcel)
    ends, _, cancelled = (app.submit(Parcel, {"sender": sender}) for sender in ("ends", "fails", "cancelled"))
    app.cancel(cancelled.uuid)
    while app.progress(ends.uuid)["status"] != "succeeded":
        zerog.Worker(app).run(burst=True)
        time.sleep(0.02)
    app.submit(Parcel, {"sender": "hangs"})


def _those_that_wait(app: zerog.App) -> None:
    app.submit(Parcel, {"sender": "waits"})
    app.submit(Parcel, {"sender": "later"}, delay=3600)
    app.close()


if __name__ == "__main__":
    live(sys.argv[1])
