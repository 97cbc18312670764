"""Old and new code of one application at work on one file, as during every deploy. Real processes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance.harness import Workers
from zerog.records.job import make_key

SHOP = Path(__file__).parent / "shop"
OLD, NEW, BROKEN = (SHOP / name / "shop.py" for name in ("old", "new", "broken"))


@pytest.fixture
def w(tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path, "--lease", "5", "--log-level", "WARNING", module=None) as workers:
        yield workers


def client(w: Workers, code: Path) -> zerog.App:
    """The app of one version, as the web application of that deploy has it."""
    spec = importlib.util.spec_from_file_location(f"shop_{code.parent.name}", code)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: zerog.App = module.app
    return app


def stored(w: Workers, uuid: str) -> str:
    """The whole row of a job, its token included, as text."""
    with w.app.datastore.file.reading() as sqlite:
        row = sqlite.execute("SELECT * FROM zerog_documents WHERE key = ?", (make_key(uuid),)).fetchone()
    return f"{tuple(row)} {json.dumps(w.app.datastore.read_with_cas(make_key(uuid)))}"


def put_back(w: Workers) -> int:
    """Deliveries that a worker has refused: on the queue of their kind, or delayed."""
    refused = "SELECT count(*) FROM zerog_queue WHERE due > 0 OR queue LIKE '%~%'"
    with w.app.datastore.file.reading() as sqlite:
        return int(sqlite.execute(refused).fetchone()[0])


def settled_by(app: zerog.App, uuid: str) -> dict[str, Any]:
    """The output of a job that was run once and charged for nothing."""
    job = app.wait(uuid, 30)
    assert (job.status, job.attempts, job.errorCount, job.crashes, job.lost) == ("succeeded", 1, 0, 0, 0)
    output: dict[str, Any] = job.output
    return output


def check_they_wait(w: Workers, app: zerog.App, jobs: list[tuple[str, dict[str, Any]]], refuser: Path) -> list[str]:
    """A worker of ``refuser``'s code leaves these jobs byte for byte as they are, and does its other work."""
    uuids = [app.submit(job_type, params).uuid for job_type, params in jobs]
    before = [stored(w, uuid) for uuid in uuids]
    letter = app.submit("letter", {"text": "hello"}).uuid
    worker = w.start(code=refuser)
    assert settled_by(app, letter)["by"] == refuser.parent.name
    w.until(lambda: put_back(w) == len(jobs))
    assert [stored(w, uuid) for uuid in uuids] == before
    w.start(code=NEW)
    worker.terminate()
    assert worker.wait(20) == 0
    return uuids


def test_an_older_worker_leaves_newer_documents_and_unknown_types_to_a_newer_one(w: Workers) -> None:
    """They wait untouched and uncounted until a worker starts that knows them."""
    app = client(w, NEW)
    order, parcel = check_they_wait(w, app, [("order", {"cents": 250}), ("parcel", {})], OLD)
    assert settled_by(app, order) == {"by": "new", "cents": 250}
    assert settled_by(app, parcel) == {"by": "new"}


def test_a_migration_that_raises_leaves_the_document_to_a_better_one(w: Workers) -> None:
    """A failed deploy harms no job: it waits with its own fields, uncounted, for the next deploy."""
    app = client(w, OLD)
    order = app.submit("order", {"amount": 2.5}).uuid
    letter = app.submit("letter", {"text": "hello"}).uuid
    worker = w.start(code=BROKEN)
    assert settled_by(app, letter)["by"] == "broken"
    w.until(lambda: app.engine.read(order)[0]["epoch"] > 0 and put_back(w))
    worker.terminate()
    assert worker.wait(20) == 0
    document = w.app.datastore.read(make_key(order))
    assert (document["status"], document["schemaVersion"], document["amount"]) == ("scheduled", 1.0, 2.5)
    assert (document["attempts"], document["errors"], document["events"]) == (0, [], [])
    w.start(code=NEW)
    assert settled_by(client(w, NEW), order) == {"by": "new", "cents": 250}


def test_a_field_of_newer_code_survives_a_run_by_older_code(w: Workers) -> None:
    """The older class doesn't declare it, writes to the document twice, and removes nothing."""
    app = client(w, NEW)
    stamp = {"country": "IS", "value": [1, 2.5, None]}
    uuid = app.submit("letter", {"text": "hello", "stamp": stamp}).uuid
    w.start(code=OLD)
    assert settled_by(app, uuid) == {"by": "old", "text": "hello"}
    document = w.app.datastore.read(make_key(uuid))
    assert (document["stamp"], document["pages"], len(document["events"])) == (stamp, 2, 1)


def test_both_versions_share_the_work_of_a_type_that_didnt_change(w: Workers) -> None:
    """Neither is idle while the other is there."""
    app = client(w, NEW)
    for code in (OLD, NEW):
        w.start(code=code)
    done: set[str] = set()

    def both() -> bool:
        done.add(settled_by(app, app.submit("letter", {"text": "x"}).uuid)["by"])
        return done == {"old", "new"}

    w.until(both, 30)
