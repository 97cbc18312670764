"""Every way to be stuck: ``zerog doctor`` names it, exits with 1, and the command that it names mends it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

import zerog
from tests.processes import until
from tests.worker.builders import Running
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.cli.root import cli
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.keys import QUEUES, SWEEPER, worker_key
from zerog.records.operations import Set
from zerog.support.clock import to_text

OWNER = WorkerIdentity("an owner", 30.0)
LONG_AGO = "2026-01-01T00:00:00.000000+00:00"
CODE = """
import zerog
app = zerog.App("sqlite:///{path}")

@app.job
def plain(job):
    pass

plain.job.RETAIN = 60
"""


class Place(NamedTuple):
    """An app in a file, with a separate worker whose record lists what it knows and holds."""

    app: zerog.App
    target: str

    def beat(self, name: str = "living", beat: int = 1, **fields: Any) -> None:
        """Write a worker's record like that of a live worker."""
        now = to_text(self.app.clock.now())
        details = {"renewedAt": now, "queues": ["default"], "knows": [["plain", 1.0]], "held": [], **fields}
        WorkerRecords(self.app.engine).renew(WorkerIdentity(name, 30.0), beat, lambda: details)

    def change(self, uuid: str, **fields: Any) -> str:
        """Set a document's fields to other values."""
        self.app.datastore.mutate(make_key(uuid), [Set(*field) for field in fields.items()])
        return uuid

    def running(self, worker: str, **fields: Any) -> str:
        """A job that a worker has claimed."""
        uuid = self.app.submit("plain").uuid
        claims = self.app.engine.claim(10, WorkerIdentity(worker, 0.5), self.app.registry.load_head)
        assert uuid in [claim.uuid for claim in claims]
        return self.change(uuid, **fields)

    def doctor(self, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and the findings of the command."""
        result = CliRunner().invoke(cli, ["doctor", self.target, "--json", *options])
        return result.exit_code, json.loads(result.output)["findings"]

    def mend(self, command: str) -> None:
        """Run a command line as a shell parses it."""
        program, *words = shlex.split(command)
        assert program == "zerog"
        if words[0] == "worker":
            with Running(self.app, queues=words[words.index("--queues") + 1].split(",") if "--queues" in words else ()):
                until(lambda: all(job["status"] == "succeeded" for job in self.app.jobs()))
            return
        CliRunner().invoke(cli, [*words, *(["--yes"] if words[:2] == ["jobs", "cancel"] else [])])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "stuckapp.py").write_text(CODE.format(path=tmp_path / "jobs.db"))
    monkeypatch.delitem(sys.modules, "stuckapp", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.job
    def plain(job: zerog.BaseJob) -> None:
        pass

    yield Place(app, "stuckapp:app")
    app.close()


def unheld(place: Place) -> str:
    uuid = place.running("living", startedAt=LONG_AGO)
    place.beat()
    return uuid


def untaken(place: Place) -> str:
    place.beat(knows=[["other", 1.0]])
    return place.app.submit("plain").uuid


def untaken_version(place: Place) -> str:
    place.beat(knows=[["plain", 0.5]])
    return place.app.submit("plain").uuid


def unknown(place: Place) -> str:
    place.beat()
    return place.change(place.app.submit("plain").uuid, jobType="strange")


def unreadable(place: Place) -> str:
    place.beat()
    return place.change(place.app.submit("plain").uuid, attempts="many")


def unreadable_running(place: Place) -> str:
    uuid = place.running("living", epoch="one")
    place.beat()
    return uuid


def undecodable(place: Place) -> str:
    place.beat()
    uuid = place.app.submit("plain").uuid
    with place.app.datastore.file.writing() as sqlite:  # type: ignore[attr-defined]
        sqlite.execute("UPDATE zerog_documents SET body = '{' WHERE key = ?", (make_key(uuid),))
    return uuid


def damaged_record(place: Place) -> str:
    place.beat()
    place.app.datastore.mutate(worker_key("living"), [Set("queues", 7)])
    return "worker living"


def damaged_directory(place: Place) -> str:
    place.beat()
    place.app.datastore.set("zerog_workers", {"workers": []})
    return "zerog_workers"


def damaged_pauses(place: Place) -> str:
    place.beat()
    place.app.datastore.set(QUEUES, {"paused": "all"})
    return ""


def never_put(place: Place) -> str:
    place.beat()
    return place.change(place.app.submit("plain").uuid, queueState="pending", due=LONG_AGO)


def unswept(place: Place) -> str:
    place.beat()
    place.app.submit("plain")
    place.app.datastore.create(SWEEPER, {"worker": "living", "beat": 7, "sweptAt": LONG_AGO})
    return ""


def unserved(place: Place) -> str:
    place.beat()
    place.app.submit("plain", queue="a queue")
    return ""


def no_worker(place: Place) -> str:
    place.app.submit("plain")
    return ""


def entry_lost(place: Place) -> str:
    place.beat()
    uuid = place.app.submit("plain").uuid
    reservation = place.app.queue.reserve(0)
    assert reservation is not None
    reservation.delete()
    return uuid


def kept_too_long(place: Place) -> str:
    place.beat()
    uuid = place.running("living")
    place.app.datastore.mutate(
        make_key(uuid),
        [Set("status", "succeeded"), Set("owner", None), Set("finishedAt", LONG_AGO), Set("resultCode", 200)],
    )
    return ""


def stalled(place: Place) -> str:
    uuid = place.running("living", startedAt=to_text(place.app.clock.now()), updatedAt=LONG_AGO)
    place.beat(held=[place.app.engine.read(uuid)[0]["owner"]["nonce"]])
    return uuid


def unmigrated(place: Place) -> str:
    """Of an older version, from which its class has no migration; a living worker has the same class."""
    place.beat()
    return place.change(place.app.submit("plain").uuid, schemaVersion=0.5)


STUCK: dict[str, tuple[Callable[[Place], str], str]] = {
    "a living worker doesn't hold it": (unheld, "does not hold"),
    "no living worker knows its type": (untaken, "no living worker of their queue knows"),
    "no living worker knows its version": (untaken_version, "no living worker of their queue knows"),
    "its class can't load it": (unmigrated, "can't be loaded"),
    "no code knows its type": (unknown, "nor a living worker knows"),
    "its document makes no sense": (unreadable, "make no sense"),
    "its document makes no sense while it runs": (unreadable_running, "make no sense"),
    "its document can't be decoded": (undecodable, "make no sense"),
    "a worker's record is damaged": (damaged_record, "records of the engine"),
    "the list of workers is damaged": (damaged_directory, "records of the engine"),
    "the pauses are damaged": (damaged_pauses, "which queues are paused"),
    "it was never put": (never_put, "never reached"),
    "its entry is gone": (entry_lost, "1 of 1 jobs that wait on queue default are not on it"),
    "it is kept for too long": (kept_too_long, "succeeded jobs of type plain are not removed"),
    "no sweeps": (unswept, "no process has swept"),
    "no worker serves its queue": (unserved, "no worker serves"),
    "there is no worker": (no_worker, "no worker is alive"),
    "it hangs": (stalled, "have written nothing"),
}
MENDED_BY_A_SWEEP_OF_A_WORKER = ("a living worker doesn't hold it",)
ENDED_ELSEWHERE = ("it hangs",)


@pytest.mark.parametrize("situation", STUCK)
def test_what_is_stuck_is_named_with_the_command_that_mends_it(place: Place, situation: str) -> None:
    make, words = STUCK[situation]
    uuid = make(place)
    code, findings = place.doctor()
    [finding] = [finding for finding in findings if words in finding["what"]]
    assert (code, finding["needs_person"]) == (1, True)
    if uuid:
        assert uuid in finding["jobs"]
    if situation in MENDED_BY_A_SWEEP_OF_A_WORKER:
        assert finding["command"].startswith("zerog reconcile ")
        return
    place.mend(finding["command"])
    if situation in ENDED_ELSEWHERE:
        assert place.app.engine.read(uuid)[0]["cancelRequested"] is not None
        return
    assert not [finding for finding in place.doctor()[1] if words in finding["what"]]


def test_a_silent_owner_is_named_and_its_jobs_are_taken_back(place: Place) -> None:
    """Two looks a lease apart decide; what was found is mended by a sweep that looks as long."""
    WorkerRecords(place.app.engine).renew(WorkerIdentity("gone", 0.5), 1)
    uuid = place.running("gone")
    code, findings = place.doctor("--watch", "0.7")
    [finding] = [finding for finding in findings if "is silent" in finding["what"]]
    assert (code, list(finding["jobs"])) == (1, [uuid])
    place.mend(finding["command"])
    assert place.app.progress(uuid)["status"] == "queued"


def test_a_cancel_that_is_overdue_is_named(place: Place) -> None:
    uuid = place.running("living", cancelRequested=LONG_AGO)
    place.beat(held=[place.app.engine.read(uuid)[0]["owner"]["nonce"]])
    code, findings = place.doctor()
    [finding] = [finding for finding in findings if "does not stop" in finding["what"]]
    assert (code, list(finding["jobs"])) == (1, [uuid])
    assert shlex.split(finding["command"])[:3] == ["zerog", "reconcile", place.target]


def test_clocks_that_are_apart_are_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays go by the datastore's clock, what runs note by this machine's."""
    place.beat()
    monkeypatch.setattr(SqliteDatastore, "now", lambda _: datetime.now(UTC) + timedelta(minutes=5))
    code, findings = place.doctor()
    [finding] = [finding for finding in findings if "are 300 s apart" in finding["what"]]
    assert (code, finding["needs_person"]) == (1, True)
    monkeypatch.setattr(SqliteDatastore, "now", lambda _: datetime.now(UTC) + timedelta(seconds=1))
    assert place.doctor()[0] == 0


@pytest.mark.parametrize("ability", ["can_find_ended", "can_delete", "can_find"])
def test_a_retention_without_effect_is_named(place: Place, monkeypatch: pytest.MonkeyPatch, ability: str) -> None:
    """The datastore can't list the ended jobs of a class with RETAIN, or not remove them."""
    place.beat()
    monkeypatch.setattr(SqliteDatastore, ability, False)
    code, findings = place.doctor()
    [finding] = [finding for finding in findings if "RETAIN is without effect for plain" in finding["what"]]
    assert (code, finding["needs_person"]) == (1, True)


def test_a_paused_queue_is_named_and_is_no_failure(place: Place) -> None:
    """A pause was ordered: its jobs wait for a named reason."""
    place.beat()
    place.app.submit("plain")
    place.app.fleet.pause("default", "the disk is full")
    code, findings = place.doctor()
    [finding] = [finding for finding in findings if "is paused" in finding["what"]]
    assert (code, finding["command"]) == (0, f"zerog queues resume {place.target} default")
    place.mend(finding["command"])
    assert place.app.fleet.paused() == {}


def test_a_job_that_a_living_worker_knows_is_not_stuck(place: Place) -> None:
    """Whether this app has the code or not."""
    place.beat(knows=[["strange", 2.0]])
    place.change(place.app.submit("plain").uuid, jobType="strange", schemaVersion=2.0)
    code, findings = place.doctor()
    assert (code, [finding["what"] for finding in findings if finding["needs_person"]]) == (0, [])
