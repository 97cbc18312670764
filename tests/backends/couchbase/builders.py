"""Helpers for the tests of Couchbase."""

from __future__ import annotations

from marshmallow import Schema, fields

import zerog

TIMEOUT = 0.3
"""The timeout of the impatient datastores of these tests, in seconds."""

KEY = "zerog_job_0199a000-0000-7000-8000-000000000000"


class Count(zerog.BaseJob):
    """Counts its steps in a field and in its events, which must agree whatever happens."""

    JOB_TYPE = "count"

    class State(Schema):
        steps = fields.Integer(load_default=0)

    steps: int

    def run(self) -> dict[str, int]:
        for _ in range(3):
            self.record_event("step")
            self.update_attrs(steps=self.steps + 1)
        return {"steps": self.steps}


def is_one_line_without_secrets(text: str) -> bool:
    return "\n" not in text.strip() and "hunter2" not in text and "Administrator" not in text
