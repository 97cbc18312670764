"""The app whose workers ``soak.py`` watches: one type, whose jobs do a little of everything and are removed soon."""

from __future__ import annotations

import os

import zerog

app = zerog.App(datastore=os.environ["SOAK_URL"], queue=os.environ.get("SOAK_QUEUE"))


class Step(zerog.BaseJob):
    """Records an event and its progress, and is kept for SOAK_RETAIN seconds."""

    JOB_TYPE = "step"
    RETAIN = float(os.environ["SOAK_RETAIN"])

    def run(self) -> int:
        self.record_event("began")
        self.set_completeness(0.5)
        return 200


app.register(Step)
