"""Golden documents: the project's own, and those that users make of their jobs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

import zerog
from tests.golden.dumps import ADAPTERS, restore_mongomock
from tests.golden.parcels import LIVES, Parcel
from tests.schemas.called import call
from tests.servers import at_exit
from zerog.records.fields import FORMAT
from zerog.schemas.golden import GoldenUnreadable, read_golden, sample, write
from zerog.schemas.masking import text
from zerog.testing import run_inline

GOLDEN = Path(__file__).parents[1] / "golden"
DUMPS = sorted(path.name for path in (*GOLDEN.glob("*.sql"), *GOLDEN.glob("*.json")))


def parcels() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Parcel)
    return app


def test_documents_of_every_format_are_read_and_resumed(zerog_golden: Any) -> None:
    assert len(zerog_golden(parcels(), GOLDEN / "documents")) == len(LIVES)


def test_there_is_a_document_of_each_status_and_format() -> None:
    found = {(one["format"], one["status"]) for one in map(read_golden, (GOLDEN / "documents").glob("*.json"))}
    assert {(number, status) for number in range(1, FORMAT + 1) for status in LIVES.values()} <= found
    dumped = {f"{name}-{number}.{each.suffix}" for name, each in ADAPTERS.items() for number in range(1, FORMAT + 1)}
    assert set(DUMPS) == {"sqlite-1.sql", "sqlite-first.sql", *dumped}


def restore_sqlite(text: str) -> zerog.App:
    folder = tempfile.mkdtemp()
    at_exit(lambda: shutil.rmtree(folder))
    with closing(sqlite3.connect(f"{folder}/jobs.db")) as connection:
        connection.executescript(text)
    return zerog.App(f"sqlite:///{folder}/jobs.db")


RESTORES = [
    *(("sqlite", file, restore_sqlite) for file in DUMPS if file.startswith("sqlite")),
    *(
        (name, file, how)
        for name, each in ADAPTERS.items()
        for file in DUMPS
        for how in each.restore
        if file.startswith(f"{name}-")
    ),
]
QUICK = (restore_sqlite, restore_mongomock)


@pytest.fixture(
    params=[
        pytest.param((file, how), marks=[] if how in QUICK else pytest.mark.wide, id=f"{file} {how.__name__}")
        for _, file, how in RESTORES
    ]
)
def restored(request: pytest.FixtureRequest) -> Iterator[zerog.App]:
    """An app on what earlier code has stored."""
    file, restore = request.param
    with restore((GOLDEN / file).read_text()) as app:
        app.register(Parcel)
        yield app


def test_what_earlier_code_has_stored_is_read_and_worked_off(restored: zerog.App) -> None:
    """Each of its jobs has its fields and its history, and what waits runs."""
    found = {job.sender: job for job in (restored.get_job(row["uuid"], job_type=Parcel) for row in restored.jobs())}
    assert {sender: job.status for sender, job in found.items()} == LIVES
    ended = restored.info(found["ends"].uuid)
    assert found["ends"].output == {"sender": "ends", "leg": 1}
    assert [event["msg"] for event in ended["events"]][:1] == ["began"]
    assert (found["ends"].stops, found["ends"].weight) == (["Köln"], 1.5)
    assert restored.info(found["fails"].uuid)["errors"][-1]["msg"].endswith("no address")
    waiting = found["waits"].uuid
    restored.reconcile()  # a queue in memory has lost its entries
    zerog.Worker(restored).run(burst=True)
    progress = restored.progress(waiting)
    assert (progress["status"], progress["attempts"]) != ("queued", 0)
    restored.retry(found["fails"].uuid)
    assert restored.progress(found["fails"].uuid)["status"] == "queued"


CANARY = "Ann-4711"


class Letter(zerog.BaseJob):
    JOB_TYPE = "letter"
    ATTRIBUTES = ("to",)

    class Params(Schema):
        to = fields.Email(required=True)
        body = fields.String()
        number = fields.String(load_default="A-12", validate=validate.Regexp("^[A-Z]-[0-9]+$"))
        kind = fields.String(load_default="plain", validate=validate.OneOf(["plain", "odd"]))
        extra = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
        parts = fields.List(fields.Nested(Schema.from_dict({"name": fields.String(), "count": fields.Integer()})))
        free = fields.Raw()
        password = fields.String(load_default="hunter2", metadata={"secret": True})
        pin = fields.Integer(load_default=4711, metadata={"secret": True})

    def run(self) -> Any:
        self.record_event(f"sent to {CANARY}")
        self.record_warning(f"{CANARY} is slow")
        if self.body == "fails":
            raise ValueError(CANARY)
        return {"to": self.to, "pin": self.pin, "by": {CANARY: [CANARY]}}


SENT: dict[str, Any] = {
    "to": f"{CANARY}@example.com",
    "body": f"Dear {CANARY}",
    "number": "B-4711",
    "extra": {CANARY: [CANARY]},
    "parts": [{"name": CANARY, "count": 5}],
    "free": {"a": {CANARY: CANARY}, "b": [CANARY]},
}


def test_nothing_of_a_client_leaves(tmp_path: Path, zerog_golden: Any) -> None:
    """Neither texts nor secrets, wherever they are in the document; and what is left is still a job of its class."""
    app = zerog.App("memory://")
    app.register(Letter)
    for body in (SENT["body"], "fails"):
        run_inline(app, app.submit(Letter, {**SENT, "body": body}, headers={"from": CANARY}).uuid, max_runs=30)
    app.submit(Letter, SENT)
    made = list(sample(app.datastore, Letter))
    assert [(one.version, one.status, one.problem) for one in made] == [
        (1.0, "queued", None),
        (1.0, "succeeded", None),
        (1.0, "failed", None),
    ]
    for one in made:
        written = write(one, tmp_path).read_text()
        assert one.document is not None
        own = written.replace(one.document["uuid"], "")
        assert [word for word in ("Ann", "4711", "hunter2", "slow", "Dear") if word in own] == []
    document = read_golden(tmp_path / "letter-1.0-succeeded.json")
    assert (document["to"], document["body"], document["kind"]) == ("Xxx-0000@xxxxxxx.xxx", "Xxxx Xxx-0000", "plain")
    assert document["parts"] == [{"name": "Xxx-0000", "count": 5}]
    assert document["number"] == "X-0000"
    assert len(zerog_golden(app, tmp_path)) == 3


def test_form_stays() -> None:
    assert text("Ann Müller, 12 (a@b.de)") == "Xxx Xxxxxx, 00 (x@x.xx)"


def test_a_class_that_no_longer_reads_them_is_named(tmp_path: Path, zerog_golden: Any) -> None:
    """In a test of the user's: the file, and why."""
    for path in (GOLDEN / "documents").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    later = type("Later", (Parcel,), {"Params": Schema.from_dict({"consignee": fields.String(required=True)})})
    app = zerog.App("memory://")
    app.register(later)
    with pytest.raises(AssertionError, match=r"parcel-1.0-queued.json: .* has no consignee, which is required"):
        zerog_golden(app, tmp_path)
    broken = type("Broken", (Parcel,), {"run": lambda self: self.raise_warning_continue(202, "again", delay=1)})
    app.unregister("parcel")
    app.register(broken)
    with pytest.raises(AssertionError, match=r"parcel-1.0-running.json"):
        zerog_golden(app, tmp_path)
    assert zerog_golden(app, tmp_path, run=False)


@pytest.mark.parametrize("content", ["{", "5", '{"golden": 2}', '{"golden": 1, "document": {"uuid": "x"}}'])
def test_what_is_no_golden_document_is_named(content: str, tmp_path: Path, zerog_golden: Any) -> None:
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(GoldenUnreadable, match=r"odd\.json is no golden document"):
        read_golden(tmp_path / "odd.json")
    with pytest.raises(AssertionError, match=r"odd\.json"):
        zerog_golden(parcels(), tmp_path)
    with pytest.raises(AssertionError, match="has no golden documents"):
        zerog_golden(parcels(), tmp_path / "nowhere")


SHOP = """
import zerog
from tests.golden.dumps import ADAPTERS, restore_mongomock
from tests.golden.parcels import Parcel

app = zerog.App("sqlite:///jobs.db")
app.register(Parcel)
"""


def test_the_command_writes_them(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    assert call("schema", "sample", "shop:app", "golden", folder=tmp_path).stdout == "No jobs of these types.\n"
    call("submit", "shop:app", "parcel", "sender=Ann", folder=tmp_path)
    written = call("schema", "sample", "shop:app", "golden", folder=tmp_path)
    assert (written.exit_code, written.stdout) == (0, "golden/parcel-1.0-queued.json\n")
    listed = call("schema", "sample", "shop:app", "golden", "--type", "parcel", "--json", folder=tmp_path)
    path = "golden/parcel-1.0-queued.json"
    expected = {"jobType": "parcel", "schemaVersion": 1.0, "status": "queued", "path": path, "problem": None}
    assert json.loads(listed.stdout) == expected
    assert call("schema", "sample", "shop:app", "golden", "--type", "x", folder=tmp_path).exit_code == 2
    (tmp_path / "file").write_text("")
    assert call("schema", "sample", "shop:app", "file/x", folder=tmp_path).exit_code == 1
