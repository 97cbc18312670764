"""The columns that a claim compares in SQL: what it claims unread, ``decide`` lets run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.postgres.servers import shared
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.engine.decision import Run, decide
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import CorruptDocument
from zerog.records.job import STATUSES, check_head, make_key, new_document
from zerog.records.operations import Set
from zerog.support.clock import text_after, to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0, None, (("test", 1.0),))
NUMBERS = itertools.count()
OWNER = {"worker": "bob", "nonce": "x", "lease": 30.0, "build": None}


@pytest.fixture(scope="module")
def engine() -> Iterator[PostgresEngine]:
    clock = ManualClock()
    datastore = PostgresDatastore(shared().url(), clock)
    yield PostgresEngine(datastore, PostgresQueue(datastore.server), clock)
    datastore.close()


times = st.one_of(st.none(), st.floats(-1e4, 1e4), st.sampled_from(["", "tomorrow", "null", 7, False]))
changes = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([*STATUSES, "odd", None]),
        "cancelRequested": times,
        "notBefore": times,
        "attempts": st.one_of(st.integers(-2, 10**16), st.sampled_from([1.5, "3", None])),
        "epoch": st.one_of(st.integers(-2, 10**16), st.sampled_from([1.5, "3", None])),
        "owner": st.sampled_from([None, OWNER]),
    },
)


@given(changes=changes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_claims_only_what_decide_lets_run(engine: PostgresEngine, changes: dict[str, Any]) -> None:
    """And all that waits without a time, with numbers that it can count on."""
    now = to_text(engine.clock.now())
    queue = f"of-{next(NUMBERS)}"
    document = {**new_document("test", 1.0, now), "queueName": queue}
    [(stored, _)] = engine.submit([document])
    key = make_key(stored["uuid"])
    fields = {
        name: text_after(now, value) if type(value) is float and name != "attempts" and name != "epoch" else value
        for name, value in changes.items()
    }
    if fields:
        engine.datastore.mutate(key, [Set(name, value) for name, value in fields.items()])
    head, _ = engine.datastore.read_with_cas(key, head=True)
    assert head is not None
    claims = engine.step([], 1, ALICE, lambda head: head["jobType"], [queue], deferred=True).claims
    is_unseen = bool(claims) and claims[0].raw_head is not None
    try:
        check_head(key, head)
        may_run = isinstance(decide(head, now), Run)
    except CorruptDocument:
        may_run = False
    if is_unseen:
        assert may_run
    if may_run and head["notBefore"] is None and head["status"] == "queued":
        assert is_unseen == all(0 <= head[name] < 2**53 for name in ("attempts", "epoch"))
