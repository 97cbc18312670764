"""Unique jobs as an application uses them: classes, functions, keys of one submit, transactions, the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from marshmallow import Schema, fields

import zerog
from tests.engine.callers import SQLITE, Caller, Store, of_psycopg, postgres_store, sqlite_store
from zerog.testing import run_inline
from zerog.testing.clock import ManualClock


class Bill(zerog.BaseJob):
    """One bill of a customer and year at a time."""

    JOB_TYPE = "bill"
    UNIQUE = ("customer", "year")

    class Params(Schema):
        customer = fields.String(required=True)
        year = fields.Integer(load_default=2026)
        copies = fields.Integer(load_default=1)

    customer: str
    year: int
    copies: int

    def run(self) -> dict[str, int]:
        """Return what it was given."""
        return {"copies": self.copies}


class Index(Bill):
    """A debounced job."""

    JOB_TYPE = "index"
    UNIQUE = ("customer",)
    UNIQUE_UNTIL = "started"
    ON_CONFLICT = "replace"


class Plain(Bill):
    """A class without a key."""

    JOB_TYPE = "plain"
    UNIQUE = None


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://", clock=ManualClock())
    app.register(Bill, Index, Plain)
    return app


def test_a_submit_returns_the_job_that_has_the_key(app: zerog.App) -> None:
    first = app.submit(Bill, {"customer": "ada"})
    again = app.submit(Bill, {"customer": "ada", "year": 2026, "copies": 9})
    other = app.submit(Bill, {"customer": "ada", "year": 2027})
    assert (first.is_new, again.is_new, other.is_new) == (True, False, True)
    assert (again.uuid, again.copies, again.status) == (first.uuid, 1, "queued")
    assert run_inline(app, again.uuid).output == {"copies": 1}
    assert app.submit(Bill, {"customer": "ada"}).is_new


def test_many_are_submitted_at_once(app: zerog.App) -> None:
    there = app.submit(Bill, {"customer": "bob"}).uuid
    uuids = app.submit_many(Bill, [{"customer": name} for name in ("ada", "bob", "ada", "cyd")])
    assert (uuids[0], uuids[1]) == (uuids[2], there)
    assert len(set(uuids)) == 3 == app.count().number


def test_a_key_of_one_submit(app: zerog.App) -> None:
    first = app.submit(Plain, {"customer": "ada"}, unique=("invoice", 42))
    assert not app.submit(Plain, {"customer": "bob"}, unique=("invoice", 42)).is_new
    assert app.submit(Plain, {"customer": "ada"}, unique=("invoice", "42")).is_new
    assert app.submit(Plain, {"customer": "ada"}).is_new
    assert app.submit(Bill, {"customer": "ada"}, unique=("invoice", 42)).is_new  # keys are those of a type
    assert app.progress(first.uuid)["uniqueKey"] == "invoice, 42"


def test_a_function_takes_the_key_of_its_base(app: zerog.App) -> None:
    class OncePerPath(zerog.BaseJob):
        UNIQUE = ("path",)

    @app.job("resize", base=OncePerPath)
    def resize(job: zerog.BaseJob, path: str, width: int = 100) -> None:
        pass

    assert app.submit(resize, {"path": "a.jpg"}).is_new
    assert not app.submit("resize", {"path": "a.jpg", "width": 5}).is_new


def test_a_job_submits_unique_ones(app: zerog.App) -> None:
    job = app.submit(Plain, {"customer": "ada"})
    child = job.submit(Plain, {"customer": "ada"}, unique=("child",))
    assert (child.parent, job.submit(Plain, {"customer": "ada"}, unique=("child",)).is_new) == (job.uuid, False)


def test_a_waiting_job_is_replaced(app: zerog.App) -> None:
    first = app.submit(Index, {"customer": "ada"}, delay=60)
    again = app.submit(Index, {"customer": "ada", "copies": 5}, delay=60)
    assert (again.uuid, again.copies, again.is_new) == (first.uuid, 5, False)
    assert [event["msg"] for event in app.info(first.uuid)["events"]] == ["parameters replaced by another submit"]
    assert run_inline(app, first.uuid).output == {"copies": 5}
    assert app.submit(Index, {"customer": "ada"}).is_new


def test_a_chosen_uuid_finds_its_own_job_first(app: zerog.App) -> None:
    """Even if another one has the key by now; a new one joins that."""
    mine = app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4()))
    app.cancel(mine.uuid)
    other = app.submit(Bill, {"customer": "ada"})
    again = app.submit(Bill, {"customer": "ada"}, uuid=mine.uuid)
    assert (again.uuid, again.status, again.is_new) == (mine.uuid, "cancelled", False)
    assert app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4())).uuid == other.uuid
    with pytest.raises(zerog.CasMismatch, match="another value of year"):
        app.submit(Bill, {"customer": "ada", "year": 1}, uuid=mine.uuid)


def test_an_edit_and_a_retry(app: zerog.App) -> None:
    first = app.submit(Bill, {"customer": "ada"})
    with pytest.raises(zerog.InvalidValue, match=r"customer of job .* is unique by it \(customer=ada, year=2026\)"):
        app.edit(first.uuid, {"customer": "bob"}, who="ada", reason="test")
    assert app.edit(first.uuid, {"copies": 2}, who="ada", reason="test")
    app.cancel(first.uuid)
    second = app.submit(Bill, {"customer": "ada"})
    with pytest.raises(zerog.JobStateError, match=second.uuid):
        app.retry(first.uuid)


def test_enqueue_is_refused(app: zerog.App) -> None:
    job = Bill(app.datastore, app.queue, customer="ada")
    with pytest.raises(zerog.ConfigurationError, match=r"Submit it with App\.submit"):
        job.enqueue()
    assert app.count().number == 0


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"UNIQUE": "customer"}, "UNIQUE is 'customer'; expected a tuple"),
        ({"UNIQUE": ()}, r"UNIQUE is \(\)"),
        ({"UNIQUE": ("client",)}, "'client', which is no parameter; expected some of customer"),
        ({"UNIQUE": ("token",)}, "names the secret token"),
        ({"UNIQUE_UNTIL": "done"}, "UNIQUE_UNTIL is 'done'; expected 'started', 'ended', or a timedelta"),
        ({"UNIQUE_UNTIL": timedelta(0)}, "UNIQUE_UNTIL is"),
        ({"UNIQUE_UNTIL": 60}, "UNIQUE_UNTIL is 60"),
        ({"ON_CONFLICT": "drop"}, "ON_CONFLICT is 'drop'; expected 'join' or 'replace'"),
        ({"ON_CONFLICT": "replace"}, "'replace' and its UNIQUE_UNTIL 'ended'; expected 'started'"),
        ({"UNIQUE_UNTIL": timedelta(hours=2), "RETAIN": 3600}, "RETAIN is 3600 s and its UNIQUE_UNTIL 7200"),
    ],
)
def test_a_key_that_no_job_could_have_is_refused(app: zerog.App, attributes: dict[str, Any], named: str) -> None:
    class Params(Bill.Params):
        token = fields.String(metadata={"secret": True})

    wrong = type("Wrong", (Bill,), {"JOB_TYPE": "wrong", "Params": Params, **attributes})
    with pytest.raises(zerog.InvalidJobClass, match=named):
        app.register(wrong)


@pytest.mark.parametrize("given", ["invoice", (), ("invoice", 4.5), ({},), 42])
def test_a_key_that_makes_no_sense_is_refused(app: zerog.App, given: Any) -> None:
    with pytest.raises(zerog.InvalidValue, match=r"unique=.*expected a tuple of texts"):
        app.submit(Bill, {"customer": "ada"}, unique=given)
    assert app.count().number == 0


WAYS = [
    *(pytest.param(sqlite_store, way, id=f"sqlite-{way.__name__}") for way in SQLITE),
    pytest.param(postgres_store, of_psycopg, id="postgres"),
]


@pytest.mark.parametrize(("make_store", "way"), WAYS)
def test_in_a_callers_transaction(
    make_store: Callable[[Path], AbstractContextManager[Store]],
    way: Callable[[Store], AbstractContextManager[Caller]],
    tmp_path: Path,
) -> None:
    """Lock and job come to exist with the caller's rows, or vanish with them."""
    ada = {"customer": "ada"}
    with make_store(tmp_path) as store:
        app = store.app
        app.register(Bill, Index)
        there = app.submit(Bill, {"customer": "bob"})
        with suppress(KeyError), way(store) as caller:
            assert app.submit(Bill, ada, connection=caller.connection).is_new
            raise KeyError
        with way(store) as caller:
            caller.execute(f"INSERT INTO {store.table} VALUES (1)")
            first = app.submit(Bill, ada, connection=caller.connection)
            again = app.submit(Bill, ada, connection=caller.connection)
            uuids = app.submit_many(Bill, [{"customer": "cyd"}, {"customer": "bob"}], connection=caller.connection)
            with pytest.raises(zerog.ConfigurationError, match="ON_CONFLICT"):
                app.submit(Index, ada, connection=caller.connection)
        assert (first.is_new, again.is_new, again.uuid) == (True, False, first.uuid)
        assert uuids[1] == there.uuid
        assert {job["uuid"] for job in app.jobs()} == {first.uuid, there.uuid, uuids[0]}
        assert not app.submit(Bill, ada).is_new
        with zerog.Worker(app):
            assert app.wait(first.uuid, timeout=30).status == "succeeded"
        assert store.orders() == [1]


def test_the_documents_of_a_key(app: zerog.App) -> None:
    """What an operator or a copy finds: the lock beside the job."""
    job = app.submit(Bill, {"customer": "ada"})
    stored = app.datastore.read(job.key())
    lock = stored["uniqueLock"]
    assert lock == {"key": lock["key"], "fields": ["customer", "year"], "shown": "customer=ada, year=2026"} | {
        "until": "ended"
    }
    assert json.dumps(app.datastore.read(f"zerog_unique_{lock['key']}"))
    app.cancel(job.uuid)
    app.discard(job.uuid)
    assert app.datastore.read(f"zerog_unique_{lock['key']}") is None
