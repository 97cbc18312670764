"""A uuid that the caller chooses names one job: a submit that is repeated returns it, whatever it does now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from marshmallow import Schema, fields

import zerog
from tests.engine.callers import POSTGRES, SQLITE, Caller, Store, postgres_store, sqlite_store
from tests.engine.engines import KINDS, Kind
from zerog.support import failpoints
from zerog.testing.clock import ManualClock


class Bill(zerog.BaseJob):
    """A job with parameters and state."""

    JOB_TYPE = "bill"

    class Params(Schema):
        customer = fields.String(required=True)
        year = fields.Integer(load_default=2026)

    class State(Schema):
        pages = fields.Integer(load_default=0)

    customer: str
    year: int
    pages: int

    def run(self) -> None:
        """Change the state."""
        self.update_attrs(pages=3)


class Letter(Bill):
    """Another type with the same parameters."""

    JOB_TYPE = "letter"


@pytest.fixture(params=[pytest.param(kind, id=name, marks=kind.marks) for name, kind in KINDS.items()])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    kind: Kind = request.param
    with app_over(kind.open(tmp_path, ManualClock())) as app:
        yield app
    failpoints.disarm()


def app_over(engine: Any) -> zerog.App:
    app = zerog.App("memory://")
    app.engine = engine
    app.register(Bill, Letter)
    return app


def test_the_same_submit_returns_the_job(app: zerog.App) -> None:
    """Once it is stored, while it waits and after it has ended."""
    mine = str(uuid4())
    first = app.submit(Bill, {"customer": "ada"}, uuid=mine)
    again = app.submit("bill", {"customer": "ada", "year": 2026}, uuid=mine, priority=5, delay=60)
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.uuid, again.priority, again.status, again.cas) == (mine, 0, "queued", first.cas)
    app.cancel(mine)
    assert app.submit(Bill, {"customer": "ada"}, uuid=mine).status == "cancelled"
    assert app.count().number == 1
    assert not app.get_job(mine).is_new


@pytest.mark.parametrize(
    ("job_class", "params", "named"),
    [
        (Bill, {"customer": "bob"}, "with another value of customer"),
        (Bill, {"customer": "bob", "year": 2027}, "with another value of customer, year"),
        (Letter, {"customer": "ada"}, "of type 'bill', not 'letter'"),
    ],
)
def test_another_job_of_that_uuid_is_refused_by_name(
    app: zerog.App, job_class: type[Bill], params: dict[str, Any], named: str
) -> None:
    first = app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4()))
    with pytest.raises(zerog.CasMismatch, match=f"{first.uuid} is there already, {named}; .* Nothing was stored"):
        app.submit(job_class, params, uuid=first.uuid)
    stored = app.get_job(first.uuid)
    assert (stored.cas, app.count().number) == (first.cas, 1)


def test_state_of_a_run_is_no_difference() -> None:
    with zerog.App("memory://") as app:
        app.register(Bill)
        first = app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4()))
        with zerog.Worker(app):
            app.wait(first.uuid, timeout=30)
        again = app.submit(Bill, {"customer": "ada"}, uuid=first.uuid)
        assert (again.is_new, again.status, again.pages) == (False, "succeeded", 3)


def test_an_older_version_is_compared_as_this_one_sees_it() -> None:
    class Newer(Bill):
        SCHEMA_VERSION = "2.0"

        class Params(Schema):
            client = fields.String(required=True)
            year = fields.Integer(load_default=2026)

        @zerog.migration("1.0", "2.0")
        def renamed(document: Any) -> Any:
            document["client"] = document.pop("customer")
            return document

    with zerog.App("memory://") as app:
        app.register(Bill)
        mine = app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4())).uuid
        app.unregister("bill")
        app.register(Newer)
        assert not app.submit(Newer, {"client": "ada"}, uuid=mine).is_new
        with pytest.raises(zerog.CasMismatch, match="another value of client"):
            app.submit(Newer, {"client": "bob"}, uuid=mine)


def test_a_lost_answer_makes_the_job_once(app: zerog.App) -> None:
    failpoints.arm("submit.created", "unknown")
    first = app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4()))
    assert (first.is_new, app.submit(Bill, {"customer": "ada"}, uuid=first.uuid).is_new) == (True, False)


def test_many_at_once_make_one_job(app: zerog.App) -> None:
    mine, jobs = str(uuid4()), list[Bill]()
    start = threading.Barrier(8)

    def submit() -> None:
        start.wait()
        jobs.append(app.submit(Bill, {"customer": "ada"}, uuid=mine))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job.is_new for job in jobs) == [False] * 7 + [True]
    assert {job.uuid for job in jobs} == {mine}


WAYS = [
    *(pytest.param(sqlite_store, way, id=f"sqlite-{way.__name__}") for way in SQLITE),
    *(pytest.param(postgres_store, way, id=f"postgres-{way.__name__}") for way in POSTGRES),
]


@pytest.mark.parametrize(("make_store", "way"), WAYS)
def test_in_a_callers_transaction(
    make_store: Callable[[Path], AbstractContextManager[Store]],
    way: Callable[[Store], AbstractContextManager[Caller]],
    tmp_path: Path,
) -> None:
    """A job that this transaction has made itself, too; a refusal leaves the rest of it."""
    with make_store(tmp_path) as store:
        store.app.register(Bill)
        there = store.app.submit(Bill, {"customer": "ada"}, uuid=str(uuid4()))
        mine = str(uuid4())
        with way(store) as caller:
            caller.execute(f"INSERT INTO {store.table} VALUES (1)")
            jobs = [
                store.app.submit(Bill, {"customer": "ada"}, uuid=uuid, connection=caller.connection)
                for uuid in (there.uuid, mine, mine)
            ]
            with pytest.raises(zerog.CasMismatch, match="another value of customer"):
                store.app.submit(Bill, {"customer": "bob"}, uuid=mine, connection=caller.connection)
        assert [job.is_new for job in jobs] == [False, True, False]
        assert (jobs[0].cas, store.orders()) == (there.cas, [1])
        assert {job["uuid"] for job in store.app.jobs()} == {there.uuid, mine}
