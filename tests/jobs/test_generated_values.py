"""What ``run()`` sees is what submit validated: generated schemas and values, on every adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mongomock
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

import zerog
from tests.backends.couchbase import servers as couchbase_servers
from tests.backends.mongo import servers as mongo_servers
from tests.backends.redis import servers as redis_servers
from tests.backends.rq import queues as rq
from tests.jobs.generated import as_sent, generated, schemas
from tests.jobs.seeing import check_seen, register_seeing
from tests.marks import wide
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.records.job import make_key

MANY = 10_000
"""The number of generated schemas and values of the long runs."""


def check_any(app: zerog.App, data: st.DataObject) -> None:
    """Check a value of plain kinds, which must be accepted, or of odd ones, which may be refused in words."""
    way = data.draw(st.sampled_from(["field", "whole", "odd"]))
    if way == "whole":
        params, sent = data.draw(schemas())
    else:
        field, given = data.draw(generated(odd=way == "odd"))
        params, sent = type("Params", (Schema,), {"given": field}), st.fixed_dictionaries({"given": given})
    value = as_sent(data.draw(sent))
    refusal = _refusal(app, params, value)
    if refusal is None:
        [head] = app.jobs()
        app.datastore.delete(make_key(head["uuid"]))
        return
    if way != "odd":
        raise refusal
    event(f"refused: {type(refusal).__name__}")
    assert "given" in str(refusal)
    assert list(app.jobs()) == []


def _refusal(app: zerog.App, params: type[Schema], value: Any) -> Exception | None:
    """The error that a class or a value gets; None if its run saw what was validated."""
    try:
        check_seen(app, register_seeing(app, params), value)
    except (InvalidJobClass, InvalidValue, ValidationError) as error:
        return error
    return None


def _memory(folder: Path) -> zerog.App:
    return zerog.App("memory://")


def _sqlite(folder: Path) -> zerog.App:
    return zerog.App(f"sqlite:///{folder}/jobs.db")


def _redis(folder: Path) -> zerog.App:
    return zerog.App(redis_servers.url_for(folder))


def _rq(folder: Path) -> zerog.App:
    return zerog.App(datastore=f"sqlite:///{folder}/jobs.db", queue=f"rq+{rq.url_for(folder)}")


def _mongomock(folder: Path) -> zerog.App:
    return zerog.App(datastore=MongoDatastore(client=mongomock.MongoClient()), queue="memory://")


def _mongodb(folder: Path) -> zerog.App:
    return zerog.App(datastore=mongo_servers.url_for(folder), queue="memory://")


def _couchbase(folder: Path) -> zerog.App:
    return zerog.App(datastore=couchbase_servers.url_for(folder), queue="memory://")


ADAPTERS = [_memory, _sqlite, _redis, _mongomock, *wide(_rq, _mongodb, _couchbase)]


@pytest.fixture(params=ADAPTERS, ids=lambda make: make.__name__[1:])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    """An app on each adapter."""
    make: Callable[[Path], zerog.App] = request.param
    with make(tmp_path) as made:
        made.setup()
        yield made


RELAXED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=25, deadline=None, suppress_health_check=RELAXED)
@given(data=st.data())
def test_a_run_sees_what_was_validated(app: zerog.App, data: st.DataObject) -> None:
    """Schemas nested three deep, with hooks, validators and fields of their own, on every adapter."""
    check_any(app, data)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=MANY, deadline=None, suppress_health_check=RELAXED)
@given(data=st.data())
def test_ten_thousand_runs_see_what_was_validated(app: zerog.App, data: st.DataObject) -> None:
    """Long enough to meet combinations that are rare."""
    check_any(app, data)
