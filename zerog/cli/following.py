"""Waiting for jobs with live bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from zerog.app import App
from zerog.cli.bars import Bars
from zerog.cli.spoken import FAILED, UNFINISHED, fail
from zerog.document import SUCCEEDED, TERMINAL

LOOK = 0.2
"""Seconds between two looks."""

SHOWN = 10
"""Jobs with a bar each; more share one."""

ALL = "all"
"""The name of the bar that many jobs share."""


def follow(app: App, uuids: Sequence[str], console: Console, timeout: float | None = None) -> int:
    """Draw until all jobs have ended; the exit code that tells how: 1 if any of them failed or was cancelled.

    Exits with 4 if ``timeout`` seconds weren't enough. Raises JobNotFound.
    """
    deadline = None if timeout is None else app.clock.monotonic() + timeout
    with Bars(console) as bars:
        together = len(uuids) > SHOWN
        if together:
            bars.add(ALL, f"{len(uuids):,} jobs")
        ended: dict[str, str] = {}
        left = dict.fromkeys(uuids)
        while True:
            for uuid in list(left):
                progress = app.progress(uuid)
                if not together:
                    bars.add(uuid, str(progress["jobType"]))
                    bars.update(progress)
                if progress["status"] in TERMINAL:
                    ended[uuid] = progress["status"]
                    del left[uuid]
            if together:
                bars.update(_overall(len(ended), len(uuids)), f"{len(ended):,} ended")
            if not left or (deadline is not None and app.clock.monotonic() >= deadline):
                break
            app.clock.pause(LOOK)
    if left:
        which = f"job {next(iter(left))} goes" if len(left) == 1 else f"{len(left):,} jobs go"
        fail(f"after {timeout:g} s {which} on", UNFINISHED)
    return 0 if all(status == SUCCEEDED for status in ended.values()) else FAILED


def _overall(ended: int, total: int) -> dict[str, Any]:
    return {"uuid": ALL, "completeness": ended / total, "status": "running", "attempts": 1}
