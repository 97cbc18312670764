"""A page with live bars: ``zerog worker app:jobs`` and ``uvicorn app:web``."""

import time
from pathlib import Path

from marshmallow import Schema, fields, validate
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Mount, Route

import zerog
from zerog.web import asgi

jobs = zerog.App()  # ZEROG_URL, such as sqlite:///jobs.db


class Press(zerog.BaseJob):
    """Press sheets of paper, one after the other."""

    JOB_TYPE = "press"

    class Params(Schema):
        sheets = fields.Integer(load_default=20, validate=validate.Range(1, 1_000))
        seconds = fields.Float(load_default=0.2, validate=validate.Range(0, 60))
        bad = fields.Integer(load_default=None, allow_none=True)

    class State(Schema):
        done = fields.Integer(load_default=0)

    sheets: int
    seconds: float
    bad: int | None
    done: int

    def run(self):
        while self.done < self.sheets:
            time.sleep(self.seconds)
            if self.done == self.bad:
                self.raise_error_finish(500, f"sheet {self.done} is torn")
            self.update_attrs(done=self.done + 1, completeness=(self.done + 1) / self.sheets)
        return {"sheets": self.done}


jobs.register(Press)


async def page(_request):
    return FileResponse(Path(__file__).with_name("page.html"))


web = Starlette(routes=[Route("/", page), Mount("/jobs-api", app=asgi(jobs))])
