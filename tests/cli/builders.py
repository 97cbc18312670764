"""A folder with an app in it, and the command as a user runs it there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.programs import python
from zerog.engine.transitions import Settlement, WorkerIdentity, waiting
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key, new_document
from zerog.records.operations import Append, Set, apply
from zerog.support.clock import SYSTEM, text_after, to_text

APP = '''
import zerog
from marshmallow import Schema, fields

class WordCount(zerog.BaseJob):
    """Count the words of a text."""

    JOB_TYPE = "word_count"

    class Params(Schema):
        path = fields.String(required=True)

    def run(self):
        with open(self.path) as text:
            return {"words": len(text.read().split())}

class Refuse(zerog.BaseJob):
    JOB_TYPE = "refuse"

    def run(self):
        self.raise_error_finish(403, "no")

app = zerog.App("sqlite:///jobs.db")
app.register(WordCount, Refuse)
'''

ALICE = WorkerIdentity("alice", 3600.0)


def make_folder(folder: Path) -> Path:
    """Put the app and its text into a folder."""
    (folder / "myapp.py").write_text(APP)
    (folder / "war-and-peace.txt").write_text("Well, Prince, so Genoa and Lucca\n")
    return folder


class WordCount(zerog.BaseJob):
    """The job of the folder's app under this name, which only commands run."""

    JOB_TYPE = "word_count"

    class Params(Schema):
        path = fields.String(required=True)

    def run(self) -> Any:
        raise NotImplementedError


class Refuse(zerog.BaseJob):
    """The same."""

    JOB_TYPE = "refuse"

    def run(self) -> Any:
        raise NotImplementedError


class Shop:
    """The app of a folder, opened in this process, and jobs in any state."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self.app = zerog.App(f"sqlite:///{folder}/jobs.db?synchronous=normal")
        self.app.register(WordCount, Refuse)

    def submitted(self, job_type: str = "word_count", **options: Any) -> str:
        params = {"path": "war-and-peace.txt"} if job_type == "word_count" else {}
        return self.app.submit(job_type, params, **options).uuid

    def running(self, job_type: str = "word_count") -> str:
        WorkerRecords(self.app.engine).renew(ALICE, 1, lambda: {"queues": ["default"]})
        uuid = self.submitted(job_type, priority=9)
        [claim] = self.app.engine.claim(1, ALICE, self.app.registry.load_head)
        assert claim.uuid == uuid
        self.claim = claim
        return uuid

    def ended(self, code: int = 200, job_type: str = "word_count") -> str:
        uuid = self.running(job_type)
        event = {"timestamp": "2026-01-01T00:00:00+00:00", "msg": "looked"}
        settlement = Settlement(self.claim, "finish", 1, code, operations=[Append("events", event)])
        assert self.app.engine.settle([settlement]) == [True]
        return uuid

    def cancelled(self) -> str:
        uuid = self.submitted()
        self.app.cancel(uuid)
        return uuid

    def pending(self) -> str:
        """A job whose submitter died before it had put it on the queue, a minute ago."""
        before = text_after(to_text(SYSTEM.now()), -60)
        document = {**new_document("word_count", 1.0, before), "path": "war-and-peace.txt"}
        apply(document, waiting(before, 0))
        self.app.datastore.create(make_key(document["uuid"]), document)
        return str(document["uuid"])

    def made(self, uuid: str, timestamp: str) -> str:
        """Set a job's time of creation; return its uuid."""
        self.app.datastore.mutate(make_key(uuid), [Set("createdAt", timestamp)])
        return uuid

    def status(self, uuid: str) -> str:
        return str(self.app.progress(uuid)["status"])

    def close(self) -> None:
        self.app.close()


def zerog_command(
    *arguments: str, folder: Path | None = None, text: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a separate process, as a user runs it."""
    environment = {**without_app(), **environment}
    return python().run("-m", "zerog", *arguments, folder=folder or Path.cwd(), text=text, environment=environment)


def without_app() -> dict[str, str]:
    """The environment of this process without an app's name, and with the commands of this installation."""
    bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**{name: value for name, value in os.environ.items() if name != "ZEROG_APP"}, "PATH": bins}
