"""The sweep and followers: what fails at one job is left to the next sweep, and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import zerog
from tests.processes import output
from zerog.engine.followers import follow
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CorruptDocument
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance import reconcile
from zerog.maintenance.losses import bury_if_gone


class Job(zerog.BaseJob):
    JOB_TYPE = "job"

    def run(self) -> int:
        return 200

    def on_end(self, status: str) -> None:
        return


@pytest.fixture
def app() -> Iterator[zerog.App]:
    app = zerog.App("memory://")
    app.register(Job)
    yield app
    app.close()


def claims(app: zerog.App, worker: str, number: int) -> list[Claim]:
    app.submit_many(Job, [{}] * number)
    return app.engine.claim(number, WorkerIdentity(worker, 30.0), app.registry.load_head)


def followers(app: zerog.App) -> set[str]:
    return {job["parent"] or "" for job in app.jobs(job_type="job.on_end")}


@pytest.mark.parametrize("error", [CorruptDocument("damaged"), AmbiguousWrite("no answer")])
def test_what_fails_at_one_end_is_left_to_the_next_sweep(
    app: zerog.App, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = claims(app, "alice", 2)
    app.engine.settle([Settlement(claim, "finish", 1, 200) for claim in ended])
    broken = ended[0].uuid

    def failing(engine: Any, uuid: str) -> list[str]:
        if uuid == broken:
            raise error
        return follow(engine, uuid)

    monkeypatch.setattr(reconcile, "follow", failing)
    app.reconcile()
    assert followers(app) == {ended[1].uuid}
    assert (broken in app.engine.skipped) == isinstance(error, CorruptDocument)
    monkeypatch.undo()
    app.reconcile()
    assert followers(app) == {claim.uuid for claim in ended}


def test_a_worker_is_buried_if_its_process_is_gone(app: zerog.App) -> None:
    """And not if nothing proves that."""
    code = "import json; from zerog.fleet.process_identity import identity; print(json.dumps(identity()))"
    ended = json.loads(output(code))
    if ended is None:
        pytest.skip("needs Linux")
    for name, process in (("gone", ended), ("unknown", {**ended, "boot": "another"})):
        [claim] = claims(app, name, 1)
        WorkerRecords(app.engine).renew(WorkerIdentity(name, 30.0), 1, first=lambda found=process: {"process": found})  # type: ignore[misc]
        bury_if_gone(app.engine, name)
        assert (app.progress(claim.uuid)["status"] == "queued") == (name == "gone")
        app.cancel(claim.uuid)
