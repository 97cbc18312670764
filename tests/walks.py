"""The files of the package that a call passes: ``python -m tests.walks``.

Counted by a profile function in every thread: a file counts once a function of it has been called.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from marshmallow import Schema, fields

import zerog

ROOT = str(Path(zerog.__file__).parent)


class Walk(zerog.BaseJob):
    """Ticks once, if a test has set what is to be done there."""

    JOB_TYPE = "walk"
    at: Callable[[zerog.BaseJob], object] | None = None

    class Params(Schema):
        number = fields.Integer(required=True)

    def run(self) -> int:
        if Walk.at is not None:
            Walk.at(self)
        return 200


WORKING = ("zerog-slot", "zerog-fetcher", "zerog-listener")
"""The threads of a worker that claim, run and settle. The rest keep its lease, poll for commands and sweep."""


@contextmanager
def traced(*threads: str) -> Iterator[set[str]]:
    """Collect the files whose functions are called within the block.

    ``threads``: in threads that are started there and whose names begin so, instead of in this one.
    """
    found: set[str] = set()

    def profile(frame: FrameType, event: str, _arg: Any) -> None:
        if event == "call" and threading.current_thread().name.startswith(threads or ""):
            name = frame.f_code.co_filename
            if name.startswith(ROOT):
                found.add(name[len(ROOT) + 1 :])

    if threads:
        threading.setprofile(profile)
    else:
        sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def walks() -> dict[str, set[str]]:
    """Return the files of each walk on an SQLite file, after one of each that made what is made once."""
    found: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as folder, zerog.App(f"sqlite:///{folder}/jobs.db") as app:
        app.register(Walk)
        for _ in range(2):
            with traced() as found["submit"]:
                uuid = app.submit("walk", {"number": 1}).uuid
            Walk.at = None
            with traced(*WORKING) as found["claim, run, settle"]:
                zerog.Worker(app).run(burst=True)
            assert app.progress(uuid)["status"] == "succeeded"
            ticked: set[str] = set()

            def tick(job: zerog.BaseJob, ticked: set[str] = ticked) -> None:
                job.set_tick_value(0.5)
                with traced() as files:
                    job.tick()
                ticked |= files

            Walk.at = tick
            app.submit("walk", {"number": 2})
            zerog.Worker(app).run(burst=True)
            found["tick"] = ticked
            uuid = app.submit("walk", {"number": 3}).uuid
            with traced() as found["cancel"]:
                app.cancel(uuid)
    found["a job's whole life"] = found["submit"] | found["claim, run, settle"]
    return found


if __name__ == "__main__":
    for walk, files in walks().items():
        print(f"{walk}: {len(files)} files\n    {' '.join(sorted(files))}")
