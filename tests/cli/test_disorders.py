"""Disorders as crashes, deploys and mistakes leave them: the doctor names each, and its command mends it."""

from __future__ import annotations

import json
import platform
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import zerog as package
from tests.cli.builders import ALICE, Shop, WordCount, without_app, zerog_command
from tests.cli.conftest import Zerog
from tests.processes import until
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support.clock import SYSTEM
from zerog.testing.clock import ManualClock

BRIEF = WorkerIdentity("brief", 0.5)


def some_time_ago(shop: Shop, minutes: float) -> package.App:
    """The app as it was then, or (with less than 0) as a clock that is ahead sees it."""
    clock = ManualClock(SYSTEM.now() - timedelta(minutes=minutes))
    app = package.App(f"sqlite:///{shop.folder}/jobs.db?synchronous=normal", clock=clock)
    app.register(WordCount)
    return app


def submitted(app: package.App, queue: str = "default") -> str:
    return app.submit("word_count", {"path": "war-and-peace.txt"}, queue=queue).uuid


def change(shop: Shop, field: str, value: Any) -> None:
    shop.app.datastore.mutate(make_key(shop.submitted()), [Set(field, value)])


def never_put(shop: Shop) -> None:
    shop.pending()


def queue_emptied(shop: Shop) -> None:
    app = some_time_ago(shop, 10)
    for _ in range(3):
        submitted(app)
    app.close()
    with sqlite3.connect(shop.folder / "jobs.db") as database:
        database.execute("DELETE FROM zerog_queue")
    database.close()


def owner_silent(shop: Shop) -> None:
    shop.submitted()
    WorkerRecords(shop.app.engine).renew(BRIEF, 1)
    assert shop.app.engine.claim(1, BRIEF, shop.app.registry.load_head)


def record_left(shop: Shop) -> None:
    WorkerRecords(shop.app.engine).renew(BRIEF, 1)


def type_unknown(shop: Shop) -> None:
    change(shop, "jobType", "strange")


def schema_too_new(shop: Shop) -> None:
    change(shop, "schemaVersion", 9.0)


def format_too_new(shop: Shop) -> None:
    change(shop, "format", 9)


def owner_makes_no_sense(shop: Shop) -> None:
    change(shop, "owner", {"worker": "x"})


def text_torn(shop: Shop) -> None:
    key = make_key(shop.submitted())
    with sqlite3.connect(shop.folder / "jobs.db") as database:
        database.execute("UPDATE zerog_documents SET body = substr(body, 1, 5) WHERE key = ?", (key,))
    database.close()


def time_makes_no_sense(shop: Shop) -> None:
    change(shop, "notBefore", "soon")


def runs_since(shop: Shop, minutes: float) -> tuple[package.App, str]:
    app = some_time_ago(shop, minutes)
    uuid = submitted(app)
    [claim] = app.engine.claim(1, ALICE, app.registry.load_head)
    assert claim.uuid == uuid
    return app, uuid


def not_stopped(shop: Shop) -> None:
    app, uuid = runs_since(shop, 10)
    app.cancel(uuid)
    app.close()


def stalled(shop: Shop) -> None:
    runs_since(shop, 16)[0].close()


def queue_unserved(shop: Shop) -> None:
    shop.submitted(queue="slow")


def no_worker_alive(shop: Shop) -> None:
    shop.submitted()
    WorkerRecords(shop.app.engine).forget(ALICE.name)


def not_durable(shop: Shop) -> None:
    source = shop.folder / "myapp.py"
    source.write_text(source.read_text().replace("jobs.db", "jobs.db?synchronous=normal"))
    del sys.modules["myapp"]


def clock_ahead(shop: Shop) -> None:
    app = some_time_ago(shop, -30)
    submitted(app)
    app.close()


@dataclass(frozen=True)
class Disorder:
    """How to cause it, and what the doctor prints."""

    make: Callable[[Shop], None]
    words: str
    needs_person: bool
    command: str | None = None
    """The beginning of the command that mends it."""
    watch: tuple[str, ...] = ()


DISORDERS = [
    Disorder(never_put, "never reached their queue", False, "zerog reconcile myapp:app"),
    Disorder(queue_emptied, "3 of 3 jobs that wait on queue default are not on it", True, "zerog reconcile"),
    Disorder(owner_silent, "owner that is silent", True, "zerog reconcile", ("--watch", "0.6")),
    Disorder(record_left, "record of a dead worker is left: brief", False, "zerog reconcile", ("--watch", "0.6")),
    Disorder(type_unknown, "neither this app nor a living worker knows", True, "zerog jobs cancel"),
    Disorder(schema_too_new, "written by newer code", True),
    Disorder(format_too_new, "written by newer code", True),
    Disorder(owner_makes_no_sense, "documents make no sense", True, "zerog jobs rm myapp:app --damaged"),
    Disorder(text_torn, "documents make no sense", True, "zerog jobs rm myapp:app --damaged"),
    Disorder(time_makes_no_sense, "documents make no sense", True, "zerog jobs rm myapp:app --damaged"),
    Disorder(not_stopped, "cancelled or paused and their owner does not stop them", True, "zerog reconcile"),
    Disorder(stalled, "written nothing for longer than their STALLED_AFTER", True, "zerog jobs cancel"),
    Disorder(queue_unserved, "1 job waits on queue slow, which no worker serves", True, "zerog worker"),
    Disorder(no_worker_alive, "no worker is alive", True, "zerog worker"),
    Disorder(not_durable, "a power cut may take", False),
    Disorder(clock_ahead, "this machine's clock has not reached", True),
]


def examined(zerog: Zerog, disorder: Disorder) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and what was found."""
    result = zerog("doctor", "myapp:app", *disorder.watch, "--json")
    return result.exit_code, findings_of(result.stdout)


def findings_of(printed: str) -> list[dict[str, Any]]:
    """What was found, without the finding that one look always has here: that it is unknown whether a worker lives."""
    return [found for found in json.loads(printed)["findings"] if "after one look it is unknown" not in found["what"]]


@pytest.mark.parametrize("disorder", DISORDERS, ids=lambda disorder: disorder.make.__name__)
def test_a_disorder_is_named_and_its_command_mends_it(
    shop: Shop, zerog: Zerog, disorder: Disorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found, and marked if a person is needed; after its command has run the doctor is content."""
    monkeypatch.setattr("zerog.maintenance.job_findings.CANCEL_GRACE", 0.5)
    monkeypatch.setattr("zerog.maintenance.reconcile.CANCEL_GRACE", 0.5)
    WorkerRecords(shop.app.engine).renew(ALICE, 1, lambda: {"host": "here", "queues": ["default"]})
    assert examined(zerog, disorder) == (0, [])
    disorder.make(shop)
    code, findings = examined(zerog, disorder)
    [finding] = findings
    assert disorder.words in finding["what"]
    assert (code, finding["needs_person"]) == (int(disorder.needs_person), disorder.needs_person)
    command = finding["command"]
    assert (command or "").startswith(disorder.command or "")
    assert (command is None) == (disorder.command is None)
    if command is None:
        return
    _, *words = shlex.split(command)
    if words[0] == "worker":  # it would run for ever, and it changes how its process logs
        assert zerog_command(*words, "--burst", folder=shop.folder).returncode == 0
    else:
        assert zerog(*words).exit_code == 0
    assert examined(zerog, disorder) == (0, [])


def test_a_worker_logs_which_queues_it_serves(shop: Shop, zerog: Zerog) -> None:
    """So that the doctor knows which ones are not served."""
    command = [sys.executable, "-m", "zerog", "worker", "myapp:app", "--queues", "slow,urgent", "--log-level", "ERROR"]
    with subprocess.Popen(command, cwd=shop.folder, env=without_app()) as process:
        try:
            until(
                lambda: bool(WorkerRecords(shop.app.engine).directory()),
                what="no worker came",
            )
            shop.submitted()
            result = zerog("doctor", "myapp:app")
        finally:
            process.terminate()
    assert (result.exit_code, "serves slow, urgent." in result.stdout) == (1, True)
    assert "1 job waits on queue default, which no worker serves" in result.stdout


def test_the_text_shows_the_command_and_the_versions(shop: Shop, zerog: Zerog) -> None:
    """On its own line, to be copied; and what this was seen with."""
    uuid = shop.submitted()
    shop.app.datastore.mutate(make_key(uuid), [Set("jobType", "strange")])
    WorkerRecords(shop.app.engine).renew(ALICE, 1, lambda: {"queues": ["default", "slow"]})
    printed = zerog("doctor", "myapp:app").stdout.splitlines()
    assert f"    $ zerog jobs cancel myapp:app {uuid}" in printed
    versions = f"zerog {package.__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}."
    assert printed[0].endswith(versions)
    assert any("serves default, slow" in line for line in printed)


def test_what_documents_hold_is_no_part_of_a_command(shop: Shop, zerog: Zerog) -> None:
    """A queue's name is quoted, so that pasting the line runs nothing else."""
    WorkerRecords(shop.app.engine).renew(ALICE, 1, lambda: {"queues": ["default"]})
    shop.submitted(queue="slow; rm -r x")
    [finding] = findings_of(zerog("doctor", "myapp:app", "--json").stdout)
    assert shlex.split(finding["command"])[-1] == "slow; rm -r x"


def test_many_jobs_are_mended_some_at_a_time(shop: Shop, zerog: Zerog) -> None:
    """A command names ten; after three rounds all are mended."""
    WorkerRecords(shop.app.engine).renew(ALICE, 1, lambda: {"queues": ["default"]})
    for _ in range(25):
        change(shop, "jobType", "strange")
    for left in (25, 15, 5):
        [finding] = findings_of(zerog("doctor", "myapp:app", "--json").stdout)
        assert finding["count"] == left
        assert zerog(*shlex.split(finding["command"])[1:]).exit_code == 0
    assert zerog("doctor", "myapp:app").exit_code == 0
