"""The app of the tests that end workers in every way: jobs that take the end of their worker in three ways."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog


class Stubborn(zerog.BaseJob):
    """Makes a file when it begins, and runs until the file ``over`` is there.

    On a stop it releases itself, ends well, or ignores it.
    """

    JOB_TYPE = "stubborn"
    MAX_LOST = 1_000

    class Params(Schema):
        how = fields.String(required=True)
        over = fields.String(required=True)

    how: str
    over: str

    def run(self) -> Any:
        Path(f"{self.over}-{self.uuid}").touch()
        while not Path(self.over).exists():
            time.sleep(0.02)
            if self.how != "deaf":
                self.tick()
            if self.stopping and self.how == "stop":
                return zerog.NO_RESULT
            if self.stopping and self.how == "end":
                break
        return {"how": self.how}


app = zerog.App()
app.register(Stubborn)
