"""Rules about counting jobs and reading many heads; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.contracts.find import Count
from zerog.exceptions import DatastoreError, InvalidValue
from zerog.records.operations import Append, Document, Set
from zerog.testing.contracts.datastore.order import OrderRules
from zerog.testing.contracts.datastore.values import STORABLE, same

ODD = 'é "q\0,"queueName":"q"'
"""A name that an index has to escape."""

QUERIES: list[dict[str, Any]] = [
    {"status": "queued"},
    {"status": "running"},
    {"status": "nothing"},
    {"status": ODD},
    {"status": ODD, "order": "oldest"},
    {"status": "queued", "queue": "q"},
    {"status": "queued", "queue": ODD},
    {"status": "queued", "job_type": "a 'b\"\0c"},
    {"status": "queued", "job_type": "x", "queue": "q"},
    {"due": "2"},
    {"due": "2", "status": "queued"},
    {"due": "1", "queue": "q"},
    {"status": "queued", "order": "oldest", "since": "2"},
    {"status": "running", "order": "newest", "until": "2"},
    {"status": "queued", "order": "newest", "since": "2", "until": "2", "queue": "q"},
]
"""Queries that every adapter which finds answers."""

OF_ENDED: list[dict[str, Any]] = [
    {},
    {"status": "failed"},
    {"status": "failed", "job_type": "x"},
    {"job_type": "x", "queue": "q"},
    {"status": "failed", "job_type": "x", "until": "2"},
    {"order": "oldest"},
    {"order": "newest", "since": "2"},
    {"order": "oldest", "since": "2", "until": "3", "job_type": "x"},
    {"order": "newest", "status": "failed", "until": "2"},
]
"""Queries that may match ended jobs."""


class CountRules(OrderRules):
    """Rules for ``count`` and ``read_heads``."""

    def store_some(self, jobs: Any) -> list[str]:
        """Store jobs so that each of the queries matches some of them, and return their keys."""
        documents: list[Document] = []
        for number in range(24):
            status = ("queued", "failed", "running", ODD if number == 3 else "queued")[number % 4]
            more: Document = {"jobType": ("x", "a 'b\"\0c")[number % 2], "queueName": ("q", "p", ODD)[number % 3]}
            more |= {"nested": [{"a": 1, "queueName": "q"}]} if number % 4 == 0 else {}
            times: Document = {"createdAt": str(number % 5)}
            times |= {"finishedAt": str(number % 4)} if status == "failed" else {"due": str(number % 3)}
            documents.append({"status": status, **more, **times})
        return list(jobs(*documents, {"createdAt": 5, "due": None}))

    @pytest.mark.parametrize("query", QUERIES + OF_ENDED, ids=repr)
    def test_count(self, datastore: Datastore, jobs: Any, query: dict[str, Any]) -> None:
        """The number is that of the jobs which are found, whatever the page that a query asks for."""
        if query in OF_ENDED and not datastore.can_find_ended:
            with pytest.raises(DatastoreError):
                datastore.count(FindQuery(**query))
            return
        assert datastore.count(FindQuery(**query)) == Count(0)
        self.store_some(jobs)
        datastore.create("zerog_worker_a", {"due": "1", "createdAt": "2"})
        expected = len(self.found(datastore, **query))
        assert datastore.count(FindQuery(**query)) == Count(expected)
        page = datastore.find(FindQuery(**query, limit=1))
        assert datastore.count(FindQuery(**query, limit=1, after=page.after)) == Count(expected)

    @pytest.mark.parametrize("query", QUERIES + OF_ENDED, ids=repr)
    def test_count_is_bounded(self, datastore: Datastore, jobs: Any, query: dict[str, Any]) -> None:
        """With a bound the number is exact, or at most that bound and marked as capped."""
        if query in OF_ENDED and not datastore.can_find_ended:
            pytest.skip("this adapter can't list jobs that have ended")
        keys = self.store_some(jobs)
        expected = len(self.found(datastore, **query))
        for cap in (1, 2, len(keys) - 1):
            number, is_capped = datastore.count(FindQuery(**query), cap)
            assert is_capped or number == expected
            assert number <= min(expected, cap)
            assert is_capped or expected <= cap

    @pytest.mark.parametrize("cap", [1, 2, 3, 4])
    def test_count_of_a_status_is_exact_up_to_the_bound(self, datastore: Datastore, jobs: Any, cap: int) -> None:
        """What an index of every adapter answers is counted up to the bound itself."""
        jobs(*[{"due": "1", "createdAt": "1"}] * 3)
        queries: list[dict[str, Any]] = [
            {"status": "queued"},
            {"due": "1"},
            {"status": "queued", "order": "oldest", "since": "1"},
        ]
        for query in queries:
            assert datastore.count(FindQuery(**query), cap) == Count(min(3, cap), cap < 3)

    def test_count_follows_changes(self, datastore: Datastore, jobs: Any) -> None:
        """A transition, another time and a removal are counted at once."""
        a, b = jobs({"due": "1", "createdAt": "1"}, {"due": "1", "createdAt": "1"})
        datastore.mutate(a, [Set("status", "running"), Set("due", "3")])
        assert datastore.count(FindQuery(status="queued")) == datastore.count(FindQuery(status="running")) == Count(1)
        assert datastore.count(FindQuery(due="2")) == Count(1)
        datastore.mutate(a, [Set("status", "failed"), Set("due", None)])
        assert datastore.count(FindQuery(status="running")) == Count(0)
        if datastore.can_delete:
            datastore.delete(b)
            assert datastore.count(FindQuery(status="queued", order="oldest")) == Count(0)

    @pytest.mark.parametrize("cap", [0, -1, True, 1.5, None], ids=repr)
    def test_count_takes_a_bound(self, datastore: Datastore, jobs: Any, cap: Any) -> None:
        """A bound that is no whole number of at least 1 is refused."""
        with pytest.raises(InvalidValue):
            datastore.count(FindQuery(status="queued"), cap)

    def test_count_raises_if_it_cannot(self, datastore: Datastore) -> None:
        """An adapter that can't find raises, instead of returning 0."""
        if datastore.can_find:
            pytest.skip("this adapter finds")
        with pytest.raises(DatastoreError):
            datastore.count(FindQuery(status="queued"))

    def test_read_heads(self, datastore: Datastore, key: str) -> None:
        """Heads are read by key as one alone is, without those that aren't there, however many and often."""
        documents = {f"{key}_{n}": {"value": value, "events": [1, 2]} for n, value in enumerate(STORABLE.values())}
        for each, document in documents.items():
            datastore.create(each, document)
        datastore.mutate(f"{key}_0", [Set("value", 5), Append("errors", 1)])
        asked = [*documents, f"{key}_none", *documents]
        found, unreadable = datastore.read_heads(asked)
        assert same(found, {each: datastore.read_with_cas(each, head=True)[0] for each in documents})
        assert unreadable == {}

    def test_read_no_heads(self, datastore: Datastore, key: str) -> None:
        """No keys, and keys of no documents, have no heads."""
        assert datastore.read_heads([]) == datastore.read_heads([key, "zerog_job_'\"{"]) == ({}, {})

    def test_read_more_heads_than_one_call_takes(self, datastore: Datastore, key: str) -> None:
        """As many as the caller names are read."""
        keys = [f"{key}_{number}" for number in range(1_203)]
        for each in keys[::300]:
            datastore.create(each, {"key": each})
        assert datastore.read_heads(keys).found == {each: {"key": each} for each in keys[::300]}

    def test_read_heads_names_unreadable_ones(self, datastore: Datastore, key: str) -> None:
        """A document that can't be read doesn't keep others from being read, and has the error of reading it alone."""
        a, b, c = (f"{key}_{number}" for number in range(3))
        for each in (a, b, c):
            datastore.create(each, {"status": "queued", "key": each})
        self.corrupt(datastore, b)
        found, unreadable = datastore.read_heads([a, b, c])
        assert found == {a: {"status": "queued", "key": a}, c: {"status": "queued", "key": c}}
        with pytest.raises(type(unreadable[b])) as alone:
            datastore.read_with_cas(b, head=True)
        assert str(unreadable[b]) == str(alone.value)
