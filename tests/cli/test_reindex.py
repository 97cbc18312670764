"""``zerog setup --reindex``: attributes and errors of jobs that were stored before there was an index of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import zerog as package
from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from zerog.exceptions import DatastoreUnavailable
from zerog.maintenance import reindex
from zerog.records.job import make_key
from zerog.records.keys import REINDEXED
from zerog.records.operations import Set

CODE = """
import zerog

app = zerog.App("sqlite:///books.db")

class Found(zerog.BaseJob):
    MAX_ERRORS = 1
    ATTRIBUTES = ()

@app.job("book", base=Found)
def book(job, year: int):
    raise ConnectionError("no")
"""


@pytest.fixture
def books(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app with jobs of a class that got ATTRIBUTES later, and errors as earlier versions have stored them."""
    monkeypatch.setattr(reindex, "PAGE", 2)
    Path("books.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "books", raising=False)
    import books

    app: Any = books.app
    app.submit_many("book", [{"year": year} for year in (1, 1)])
    package.Worker(app).run(burst=True)
    for job in app.jobs():
        app.datastore.mutate(make_key(job["uuid"]), [Set("lastError", {"type": "ConnectionError", "msg": "no"})])
    app.submit_many("book", [{"year": year} for year in (1, 2, 2)])
    app.close()
    Path("books.py").write_text(CODE.replace("= ()", "= ('year',)"))
    sys.modules.pop("books")
    yield app
    app.close()
    sys.modules.pop("books", None)


def found(zerog: Zerog, *filters: str) -> int:
    return len(zerog("jobs", "ls", "books:app", *filters, "--json").stdout.splitlines())


def test_jobs_are_found_afterwards(books: Any, zerog: Zerog) -> None:
    """By attributes and by the error; repeated, it changes nothing."""
    assert found(zerog, "--attr", "year=1") == 0
    result = zerog("setup", "books:app", "--reindex")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "reindex: 5 jobs read, 5 changed."
    assert (found(zerog, "--attr", "year=1"), found(zerog, "--attr", "year=2")) == (3, 2)
    assert found(zerog, "--error", "ConnectionError", "--attr", "year=1") == 2
    again = zerog("setup", "books:app", "--reindex", "--json")
    part = json.loads(again.stdout)[-1]
    assert (part["part"], part["looked_at"], part["changed"], part["error"]) == ("reindex", 5, 0, None)


def test_it_goes_on_where_it_was_broken_off(books: Any, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place after each page is noted."""
    store = type(books.datastore)
    mutate, calls = store.mutate, []

    def failing(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(key)
        if len(calls) == 4:
            raise DatastoreUnavailable("gone for a while")
        return mutate(self, key, *args, **kwargs)

    monkeypatch.setattr(store, "mutate", failing)
    broken = zerog("setup", "books:app", "--reindex")
    assert broken.exit_code == 1
    assert "gone for a while" in broken.stderr
    assert books.datastore.read(REINDEXED)["after"] is not None
    result = zerog("setup", "books:app", "--reindex")
    assert result.stdout.splitlines()[-1] == "reindex: 3 jobs read, 2 changed."
    assert books.datastore.read(REINDEXED)["after"] is None
    assert found(zerog, "--attr", "year=1") + found(zerog, "--attr", "year=2") == 5


def test_what_can_t_be_filled_is_named(books: Any, zerog: Zerog) -> None:
    """A running job is left alone, as is one without a class, or one that its class can't read."""
    uuids = [job["uuid"] for job in books.jobs(status="queued")]
    owner = {"worker": "w", "nonce": "n", "lease": 30.0}
    books.datastore.mutate(make_key(uuids[0]), [Set("owner", owner), Set("status", "running")])
    books.datastore.mutate(make_key(uuids[1]), [Set("jobType", "other")])
    books.datastore.mutate(make_key(uuids[2]), [Set("schemaVersion", 7.0)])
    line = zerog("setup", "books:app", "--reindex").stdout.splitlines()[-1]
    assert line == (
        "reindex: 5 jobs read, 2 changed; 1 run and were left alone, repeat it once they have ended; left as they are, "
        "for the app has no class of their type: other (1); 1 can't be read."
    )


def test_it_needs_the_classes(books: Any, zerog: Zerog) -> None:
    result = zerog("setup", "sqlite:///books.db", "--reindex")
    assert result.exit_code == 2
    assert "--reindex needs the job classes" in result.stderr
