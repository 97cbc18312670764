"""The app that the worker processes of the acceptance tests run; ZEROG_URL names its file."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.acceptance.lines import EFFECT_BYTES, append_line
from tests.processes import leave


class Square(zerog.BaseJob):
    """Works for a while, then has a result that only a right run can have."""

    JOB_TYPE = "square"

    class Params(Schema):
        number = fields.Integer(required=True)
        seconds = fields.Float(load_default=0.0)

    number: int
    seconds: float

    def run(self) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"square": self.number**2}


class Counted(zerog.BaseJob):
    """Records its start and its end outside ZeroG, as one line of a file each."""

    JOB_TYPE = "counted"

    class Params(Schema):
        number = fields.Integer(required=True)
        seconds = fields.Float(required=True)
        starts = fields.String(required=True)
        effects = fields.String(required=True)

    number: int
    seconds: float
    starts: str
    effects: str

    def run(self) -> dict[str, Any]:
        append_line(self.starts, f"{self.number} {time.monotonic():.4f}\n")
        time.sleep(self.seconds)
        append_line(self.effects, f"{self.number:{EFFECT_BYTES - 1}}\n")
        return {"square": self.number**2}


class Steps(zerog.BaseJob):
    """Counts to ``steps`` with a checkpoint each, waiting for the file ``gate`` after each if one is named."""

    JOB_TYPE = "steps"

    class Params(Schema):
        steps = fields.Integer(required=True)
        seconds = fields.Float(load_default=0.01)
        started = fields.String(load_default=None, allow_none=True)

    class State(Schema):
        step = fields.Integer(load_default=0)

    steps: int
    seconds: float
    step: int
    started: str | None

    def run(self) -> Any:
        if self.started:
            leave(self.started, str(os.getpid()))
        self.set_tick_value(1 / self.steps)
        while self.step < self.steps:
            time.sleep(self.seconds)
            self.update_attrs(step=self.step + 1, flush=False)
            self.tick()
            if self.stopping:
                return zerog.NO_RESULT
        return {"steps": self.step}


class Deaf(zerog.BaseJob):
    """Runs on and ignores interruptions, without writing anything."""

    JOB_TYPE = "deaf"

    class Params(Schema):
        started = fields.String(required=True)
        seconds = fields.Float(load_default=60.0)

    started: str
    seconds: float

    def run(self) -> None:
        leave(self.started, str(os.getpid()))
        time.sleep(self.seconds)


class AsyncSteps(Steps):
    """The same as a coroutine."""

    JOB_TYPE = "async_steps"

    async def run(self) -> Any:
        if self.started:
            leave(self.started, str(os.getpid()))
        self.set_tick_value(1 / self.steps)
        while self.step < self.steps:
            await asyncio.sleep(self.seconds)
            self.update_attrs(step=self.step + 1, flush=False)
            self.tick()
            if self.stopping:
                return zerog.NO_RESULT
        return {"steps": self.step}


class AsyncDeaf(Deaf):
    """Waits for a thread that can't be interrupted."""

    JOB_TYPE = "async_deaf"

    async def run(self) -> None:
        leave(self.started, str(os.getpid()))
        await asyncio.to_thread(time.sleep, self.seconds)


class Poison(zerog.BaseJob):
    """Takes its process down in one of several ways."""

    JOB_TYPE = "poison"

    class Params(Schema):
        how = fields.String(required=True)

    how: str

    def run(self) -> None:
        if self.how == "exit":
            os._exit(7)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "abort":
            os.abort()


class Failing(zerog.BaseJob):
    """Fails at once, for good."""

    JOB_TYPE = "failing"

    def run(self) -> None:
        self.raise_error_finish(418, "short and stout")


app = zerog.App()
app.register(Square, Counted, Steps, Deaf, AsyncSteps, AsyncDeaf, Poison, Failing)
