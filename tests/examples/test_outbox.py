"""The shop in ``examples/outbox``: an order has its job, and a job its order, whatever becomes of the transaction."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.backends.postgres.servers import new_schema, shared
from tests.examples.servers import ROOT
from tests.marks import wide
from tests.processes import program, until
from tests.programs import python

FILE = "examples/outbox/shop.py"

IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE '%in transaction%'
"""


@pytest.fixture(params=["sqlite", *wide("postgres")])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of a copy of the example in the current folder, with a database of its own."""
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgres":
        database = new_schema()
        with shared().connect() as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        url = shared().url("jobs", database=database)
    shutil.copy(ROOT / FILE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ZEROG_URL", url)
    shop = importlib.import_module("shop")
    shop.Base.metadata.create_all(shop.engine)
    yield shop
    shop.app.close()
    shop.engine.dispose()
    del sys.modules["shop"]


def run(*command: str) -> str:
    """Return the output of Python in the folder of the example."""
    ended = python().run(*command, folder=Path.cwd())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def invoices(shop: ModuleType) -> dict[str, str | None]:
    """By customer, the invoices of all orders."""
    with Session(shop.engine) as session:
        return {order.customer: order.invoice for order in session.query(shop.Order)}


def test_an_order_is_placed_and_invoiced(shop: ModuleType) -> None:
    number, uuid = run("shop.py", "Ada", "12.50").removeprefix("order ").strip().split(", job ")
    assert invoices(shop) == {"Ada": None}
    assert shop.app.progress(uuid)["status"] == "queued"
    run("-m", "zerog", "worker", "shop:app", "--burst")
    assert invoices(shop) == {"Ada": f"Ada owes 12.50 for order {number}"}


def test_the_jobs_of_a_customer_are_found(shop: ModuleType) -> None:
    """By the program and by the command, the newest first; those of orders that were rolled back don't exist."""
    made = {}
    for customer in ("Ada", "Grace", "Ada"):
        with Session(shop.engine) as session, session.begin():
            made.setdefault(customer, []).insert(0, shop.place_order(session, customer, 1250)[1].uuid)
    with suppress(ZeroDivisionError), Session(shop.engine) as session, session.begin():
        shop.place_order(session, "Eve", 1250)
        raise ZeroDivisionError
    for customer in ("Ada", "Grace", "Eve"):
        assert [progress["uuid"] for progress in shop.jobs_of(customer)] == made.get(customer, [])
    assert run("shop.py", "Ada").splitlines() == [f"{uuid} queued" for uuid in made["Ada"]]
    listed = run("-m", "zerog", "jobs", "ls", "shop:app", "--attr", "customer=Ada", "--newest", "--json")
    assert [json.loads(line)["uuid"] for line in listed.splitlines()] == made["Ada"]


def test_an_order_that_is_rolled_back_has_no_job(shop: ModuleType) -> None:
    with suppress(ZeroDivisionError), Session(shop.engine) as session, session.begin():
        shop.place_order(session, "Ada", 1250)
        raise ZeroDivisionError
    assert invoices(shop) == {}
    assert [*shop.app.jobs()] == []


HELD = """
    import sys
    sys.path.insert(0, ".")
    from shop import *

    with Session(engine) as session, session.begin():
        order, job = place_order(session, "Ada", 1250)
        print(order.number, job.uuid, flush=True)
        sys.stdin.read()
"""
"""An application that stops before its commit, to be killed."""


def test_an_order_whose_application_is_killed_before_the_commit_has_no_job(shop: ModuleType) -> None:
    with program(HELD) as application:
        assert application.stdout is not None
        assert len(application.stdout.readline().split()) == 2
        application.kill()
        application.wait()
    if shop.engine.name == "postgresql":  # the server notices a little later
        each_by_itself = shop.engine.execution_options(isolation_level="AUTOCOMMIT")  # a transaction sees one state
        with each_by_itself.connect() as connection:
            until(lambda: connection.execute(text(IN_TRANSACTION)).scalar() == 0)
    assert invoices(shop) == {}
    assert [*shop.app.jobs()] == []
    run("shop.py", "Grace", "7")
    run("-m", "zerog", "worker", "shop:app", "--burst")
    [(customer, invoice)] = invoices(shop).items()
    assert (customer, invoice is None) == ("Grace", False)
