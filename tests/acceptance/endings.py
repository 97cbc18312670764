"""Jobs of every kind of ending, and what must hold for each afterwards, on whatever backends.

The environment names the datastore and the queue of the app, for the worker processes, too.
"""

from __future__ import annotations

import time
from typing import Any

from marshmallow import Schema, fields

import zerog

ENDS = {
    "code": "succeeded",
    "output": "succeeded",
    "again": "succeeded",
    "later": "succeeded",
    "recovers": "succeeded",
    "warned": "succeeded",
    "gives_up": "failed",
    "raises": "failed",
    "refuses": "failed",
    "withdrawn": "cancelled",
}
"""The final status of each kind of job."""


class Ending(zerog.BaseJob):
    """Ends in the way that its ``kind`` names."""

    JOB_TYPE = "ending"
    MAX_ERRORS = 2
    FINISH_ON = (LookupError,)

    class Params(Schema):
        kind = fields.String(required=True)
        number = fields.Integer(required=True)

    class State(Schema):
        turns = fields.Integer(load_default=0)

    kind: str
    number: int
    turns: int

    def run(self) -> Any:
        time.sleep(0.01)
        self.update_attrs(turns=self.turns + 1)
        self.record_event(f"turn {self.turns}")
        if self.kind in ("output", "later"):
            return {"number": self.number}
        return getattr(self, self.kind)()

    def code(self) -> int:
        return 201

    def again(self) -> Any:
        return (zerog.NO_RESULT, 0.05) if self.turns < 3 else 200

    def recovers(self) -> None:
        if not self.errorCount:
            self.raise_error_continue(503, "not yet", delay=0.05)

    def warned(self) -> None:
        self.raise_warning_finish(299, "nearly")

    def gives_up(self) -> None:
        self.raise_error_continue(503, "never", delay=0.05)

    def raises(self) -> None:
        raise KeyError(self.number)

    def refuses(self) -> None:
        self.raise_error_finish(422, "no")

    def withdrawn(self) -> None:
        raise AssertionError("a job that was cancelled while it waited was run")


def check(app: zerog.App, uuid: str, kind: str, number: int) -> None:
    """Check that one job has the end of its kind, with all that it recorded, once."""
    job = app.get_job(uuid, Ending)
    info = app.info(uuid)
    assert info["status"] == ENDS[kind], (kind, info)
    assert not job.running
    assert job.queueState == "none"
    if kind == "withdrawn":
        assert (job.attempts, job.turns, info["events"]) == (0, 0, [])
        return
    codes = {"code": 201, "warned": 299, "gives_up": 500, "raises": 500, "refuses": 422}
    assert job.resultCode == codes.get(kind, 200)
    assert job.get_data() == ({"number": number} if kind in ("output", "later") else {})
    assert job.errorCount == {"recovers": 1, "gives_up": 2, "raises": 1, "refuses": 1}.get(kind, 0)
    assert len(info["errors"]) == job.errorCount + job.crashes + job.lost
    assert len(info["warnings"]) == (kind == "warned")
    assert job.completeness == 1.0 if ENDS[kind] == "succeeded" else job.completeness == 0.0
    # A run that was cut off may have stored its turn or not, and then did it again. It counts as lost, or was released,
    # uncounted, which is an event.
    cut_off = job.lost + sum(not event["msg"].startswith("turn") for event in info["events"])
    turns = {"again": 3, "recovers": 2, "gives_up": 2}.get(kind, 1)
    assert turns <= job.turns <= turns + cut_off, (kind, job.turns, cut_off)
    assert [event["msg"] for event in info["events"] if event["msg"].startswith("turn")] != []


app = zerog.App()
app.register(Ending)
