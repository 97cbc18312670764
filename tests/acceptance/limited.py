"""Jobs that are to be stopped: each sleeps, computes in C, waits for a process it started, or is deaf to SIGTERM.

The apps are in ``limited_soft`` and, with hard limits, which workers of threads refuse, in ``limited_hard``.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.processes import leave

LIMIT = 1.0
"""Seconds of every limit here."""

COMPUTING = 4.0
"""Seconds for which C code holds the interpreter's lock, about."""


def compute() -> None:
    """One call into C that takes COMPUTING seconds and lets no other thread run."""
    steps = 3_000_000
    started = time.monotonic()
    sum(range(steps))
    sum(range(round(steps * COMPUTING / (time.monotonic() - started))))


class Plain(zerog.BaseJob):
    """Does what ``do`` names, for a minute unless stopped; then records that it wasn't stopped."""

    JOB_TYPE = "plain"
    MAX_ERRORS = 1
    CHILDREN_WAIT = 600

    class Params(Schema):
        do = fields.String(required=True)
        marks = fields.String(required=True)

    do: str
    marks: str

    def run(self) -> Any:
        marks = Path(self.marks, self.uuid)
        marks.touch()
        try:
            getattr(self, f"do_{self.do}")()
        except BaseException as error:
            leave(marks.with_suffix(".recorded"), type(error).__name__)
            raise
        marks.with_suffix(".ended").touch()

    def do_sleep(self) -> None:
        time.sleep(60)

    def do_compute(self) -> None:
        compute()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass  # Python again, in which other threads get their turn

    def do_children(self) -> None:
        process = subprocess.Popen(["sleep", str(self.CHILDREN_WAIT)], start_new_session=True)
        leave(Path(self.marks, f"{self.uuid}.pid"), str(process.pid))
        process.wait()

    def do_deaf(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)

    def do_stubborn(self) -> None:
        """Ignores every interruption."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                time.sleep(60)
            except BaseException:
                continue

    def do_tick(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.tick()
            time.sleep(0.01)

    def do_write(self) -> None:
        """Is almost always in a write."""
        number, end = 0, time.monotonic() + 60
        while time.monotonic() < end:
            number += 1
            self.update_attrs(output={"number": number})


class Coroutine(Plain):
    """The same as a coroutine."""

    JOB_TYPE = "coroutine"

    async def run(self) -> Any:  # type: ignore[override]
        marks = Path(self.marks, self.uuid)
        marks.touch()
        try:
            await self.act()
        except BaseException as error:
            leave(marks.with_suffix(".recorded"), type(error).__name__)
            raise
        marks.with_suffix(".ended").touch()

    async def act(self) -> None:
        if self.do == "sleep":
            await asyncio.sleep(60)
        elif self.do == "children":
            process = await asyncio.create_subprocess_exec("sleep", str(self.CHILDREN_WAIT), start_new_session=True)
            leave(Path(self.marks, f"{self.uuid}.pid"), str(process.pid))
            await process.wait()
        elif self.do == "stubborn":
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    await asyncio.sleep(60)
                except BaseException:
                    continue
        else:
            getattr(self, f"do_{self.do}")()


class Soft(Plain):
    JOB_TYPE = "soft"
    SOFT_TIMEOUT = LIMIT


class Hooked(Soft):
    """The same with a hook around it."""

    JOB_TYPE = "hooked"

    def after_run(self) -> None:
        Path(self.marks, self.uuid).with_suffix(".after").touch()


class SoftCoroutine(Coroutine):
    JOB_TYPE = "soft_coroutine"
    SOFT_TIMEOUT = LIMIT


class Graceless(Plain):
    """Has little time to end once it is cancelled."""

    JOB_TYPE = "graceless"
    CANCEL_GRACE = LIMIT


class GracelessCoroutine(Coroutine):
    JOB_TYPE = "graceless_coroutine"
    CANCEL_GRACE = LIMIT


class Stop(Plain):
    """Ends with its worker."""

    JOB_TYPE = "stop"
    ON_SHUTDOWN = "stop"
    CANCEL_GRACE = LIMIT


class StopCoroutine(Coroutine):
    JOB_TYPE = "stop_coroutine"
    ON_SHUTDOWN = "stop"
    CANCEL_GRACE = LIMIT


class Finish(Plain):
    """Is waited for; ends once the file ``go`` exists."""

    JOB_TYPE = "finish"
    ON_SHUTDOWN = "finish"

    def do_wait(self) -> None:
        while not Path(self.marks, "go").exists():
            time.sleep(0.01)


class FinishCoroutine(Coroutine):
    JOB_TYPE = "finish_coroutine"
    ON_SHUTDOWN = "finish"

    async def act(self) -> None:
        while not Path(self.marks, "go").exists():
            await asyncio.sleep(0.01)


class Hard(Plain):
    JOB_TYPE = "hard"
    TIMEOUT = LIMIT


class HardCoroutine(Coroutine):
    JOB_TYPE = "hard_coroutine"
    TIMEOUT = LIMIT


class Both(Plain):
    """Is interrupted first; if that has no effect it is killed."""

    JOB_TYPE = "both"
    SOFT_TIMEOUT = LIMIT / 2
    TIMEOUT = LIMIT
