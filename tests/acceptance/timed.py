"""An app whose jobs have a time limit, which only a child process can keep."""

from __future__ import annotations

import time
from pathlib import Path

from marshmallow import Schema, fields

import zerog


class Slow(zerog.BaseJob):
    """Takes too long, in Python or holding the interpreter's lock, unless this is its last try."""

    JOB_TYPE = "slow"
    TIMEOUT = 0.5
    MAX_ERRORS = 2

    class Params(Schema):
        marks = fields.String(required=True)
        good_at = fields.Integer(load_default=0)

    marks: str
    good_at: int

    def run(self) -> None:
        Path(self.marks, str(self.attempts)).touch()
        if self.attempts != self.good_at:
            time.sleep(60)


app = zerog.App()
app.register(Slow)
