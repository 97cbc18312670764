"""Rules about finding documents; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.exceptions import DatastoreError, InvalidValue
from zerog.records.job import TERMINAL, new_uuid
from zerog.records.operations import Append, Document, Set


class FindRules:
    """Rules for ``find``."""

    @pytest.fixture
    def jobs(self, datastore: Datastore) -> Callable[..., list[str]]:
        """Return a function that stores some job documents and returns their keys in order."""
        if not datastore.can_find:
            pytest.skip("this adapter can't find")

        def store(*documents: Document) -> list[str]:
            keys = sorted(f"zerog_job_{new_uuid()}" for _ in documents)
            for key, document in zip(keys, documents, strict=True):
                datastore.create(key, {"status": "queued", "key": key, **document})
            return keys

        return store

    @pytest.fixture
    def every(self, datastore: Datastore) -> dict[str, str]:
        """Return the query for all of ``jobs``, which are queued by default."""
        return {} if datastore.can_find_ended else {"status": "queued"}

    def found(self, datastore: Datastore, limit: int = 1_000, **query: Any) -> list[str]:
        """Return the keys of all pages, one after the other."""
        keys: list[str] = []
        after = None
        for _ in range(100):
            page = datastore.find(FindQuery(**query, after=after, limit=limit))
            assert len(page.heads) <= limit
            keys += [head["key"] for head in page.heads]
            after = page.after
            if after is None:
                return keys
        raise AssertionError("100 pages and no end")

    def test_find_raises_if_it_cannot(self, datastore: Datastore) -> None:
        """An adapter that can't find raises, instead of returning nothing."""
        if datastore.can_find:
            pytest.skip("this adapter finds")
        with pytest.raises(DatastoreError):
            datastore.find(FindQuery(status="queued"))

    @pytest.mark.parametrize("query", [{}, {"job_type": "x"}, *({"status": status} for status in TERMINAL)], ids=repr)
    def test_find_raises_if_it_cannot_list_ended_ones(
        self, datastore: Datastore, jobs: Any, query: dict[str, Any]
    ) -> None:
        """An adapter that can't list jobs that have ended raises if one might belong to the answer."""
        if datastore.can_find_ended:
            pytest.skip("this adapter lists them")
        jobs({"jobType": "x"}, {"status": "failed"})
        with pytest.raises(DatastoreError):
            datastore.find(FindQuery(**query))

    def test_find_ended(self, datastore: Datastore, jobs: Any) -> None:
        """Ended jobs are found by their status, and no other ones; so are unfinished jobs."""
        a, b, c, d = jobs({"status": "failed"}, {"status": "queued"}, {"status": "failed"}, {"status": "cancelled"})
        if datastore.can_find_ended:
            assert self.found(datastore) == [a, b, c, d]
            assert self.found(datastore, status="failed", limit=1) == [a, c]
            assert self.found(datastore, status="cancelled") == [d]
        assert self.found(datastore, status="queued") == [b]

    def test_find_follows_an_end(self, datastore: Datastore, jobs: Any) -> None:
        """An ended job isn't found among unfinished ones any more, and one that is taken out of its end is, again."""
        a, b = jobs({"due": "1"}, {"due": "1", "status": "running"})
        for _ in range(2):
            for key in (a, b):
                datastore.mutate(key, [Set("status", "failed"), Set("due", None)])
            for status in ("queued", "running"):
                assert self.found(datastore, status=status) == []
            assert self.found(datastore, due="9") == []
            datastore.mutate(a, [Set("status", "running")])
            datastore.mutate(b, [Set("status", "queued"), Set("due", "2")])
            assert self.found(datastore, status="running") == [a]
            assert self.found(datastore, status="queued") == self.found(datastore, due="9") == [b]

    def test_find_in_nothing(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """An empty datastore has one empty page."""
        queries: list[dict[str, Any]] = [every, {"status": "queued"}, {"due": "9"}]
        for query in queries:
            heads, after, unreadable = datastore.find(FindQuery(**query))
            assert (heads, after, list(unreadable)) == ([], None, [])

    def test_find_by_key(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """Without ``due`` all jobs are returned in the order of their keys."""
        keys = jobs(*[{"n": n, "due": str(9 - n)} for n in range(9)])
        assert self.found(datastore, **every) == keys

    def test_find_filters(self, datastore: Datastore, jobs: Any) -> None:
        """Each filter selects jobs with exactly that value, and several filters must all match."""
        a, b, c, d = jobs(
            {"status": "queued", "jobType": "x", "queueName": "p"},
            {"status": "running", "jobType": "x", "queueName": "q"},
            {"status": "queued", "jobType": "y", "queueName": "q"},
            {"status": "queued", "jobType": "X"},
        )
        assert self.found(datastore, status="queued") == [a, c, d]
        if datastore.can_find_ended:
            assert self.found(datastore, job_type="x") == [a, b]
            assert self.found(datastore, queue="q") == [b, c]
        assert self.found(datastore, status="queued", queue="q") == [c]
        assert self.found(datastore, status="queued", job_type="x", queue="q") == []
        assert self.found(datastore, status="nothing") == []

    def test_find_due(self, datastore: Datastore, jobs: Any) -> None:
        """With ``due`` only those not later are returned, in the order of their time and then of their key."""
        a, b, c, d, _, _ = jobs({"due": "3"}, {"due": "1"}, {"due": "2"}, {"due": "1"}, {"due": None}, {})
        assert self.found(datastore, due="3") == [b, d, c, a]
        assert self.found(datastore, due="2") == [b, d, c]
        assert self.found(datastore, due="0") == []

    def test_find_due_with_filters(self, datastore: Datastore, jobs: Any) -> None:
        """``due`` and the filters apply together."""
        a, _, c = jobs({"due": "2"}, {"due": "1", "status": "running"}, {"due": "1"})
        assert self.found(datastore, due="5", status="queued") == [c, a]

    @pytest.mark.parametrize("query", [{}, {"status": "queued"}, {"due": "9"}, {"due": "9", "status": "queued"}])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_find_pages(self, datastore: Datastore, jobs: Any, query: dict[str, Any], limit: int) -> None:
        """Pages put together are the whole, in order, whatever their size and however many have the same time."""
        if not query and not datastore.can_find_ended:
            pytest.skip("this adapter can't list jobs that have ended")
        keys = jobs(*[{"due": str(n // 3)} for n in range(7)])
        assert self.found(datastore, limit=limit, **query) == keys

    def test_find_ended_until(self, datastore: Datastore, jobs: Any) -> None:
        """``until`` finds the jobs of an ended status and a type that ended by then, by that time and then by key."""
        ended = {"status": "failed", "jobType": "x"}
        a, b, c, *_ = jobs(
            {**ended, "finishedAt": "2"},
            {**ended, "finishedAt": "1"},
            {**ended, "finishedAt": "2"},
            {**ended, "finishedAt": "3"},
            {**ended, "finishedAt": "2", "status": "succeeded"},
            {**ended, "finishedAt": "2", "jobType": "xy"},
            {**ended, "finishedAt": "2", "jobType": None},
            {**ended, "finishedAt": None},
            {**ended, "finishedAt": 1},
            ended,
        )
        query: dict[str, Any] = {"status": "failed", "job_type": "x"}
        if not datastore.can_find_ended:
            with pytest.raises(DatastoreError):
                datastore.find(FindQuery(until="2", **query))
            return
        for limit in (1, 2, 3, 4):
            assert self.found(datastore, limit=limit, until="2", **query) == [b, a, c]
        assert self.found(datastore, until="1", **query) == [b]
        assert self.found(datastore, until="0", **query) == []

    def test_find_ended_until_follows_changes(self, datastore: Datastore, jobs: Any) -> None:
        """An end, another end, a retry, a change of the type and a removal are found at once."""
        if not datastore.can_find_ended:
            pytest.skip("this adapter can't list jobs that have ended")
        a, b = jobs({"jobType": "x", "finishedAt": None}, {"jobType": "x"})
        query: dict[str, Any] = {"status": "failed", "job_type": "x", "until": "5"}
        for end in ("2", "1"):
            for key in (a, b):
                datastore.mutate(key, [Set("status", "failed"), Set("finishedAt", end)])
            assert self.found(datastore, **query) == [a, b]
            datastore.mutate(b, [Set("finishedAt", "0")])
            assert self.found(datastore, **query) == [b, a]
            datastore.mutate(a, [Set("status", "queued"), Set("finishedAt", None)])
            assert self.found(datastore, **query) == [b]
        datastore.mutate(b, [Set("jobType", "y")])
        assert self.found(datastore, **query) == []
        assert self.found(datastore, **{**query, "job_type": "y"}) == [b]
        token = datastore.read_with_cas(b)[1]
        assert token is not None
        datastore.set_with_cas(b, {"status": "failed", "key": b, "jobType": "x", "finishedAt": "4"}, token)
        assert self.found(datastore, **query) == [b]
        if datastore.can_delete:
            datastore.delete(b)
            assert self.found(datastore, **query) == []

    @pytest.mark.parametrize(
        "query", [{}, {"status": "queued", "job_type": "x"}, {"status": "failed"}, {"job_type": "x"}], ids=repr
    )
    @pytest.mark.parametrize("more", [{}, {"due": "1"}, {"queue": "q"}], ids=repr)
    def test_find_until_takes_a_status_and_a_type(
        self, datastore: Datastore, jobs: Any, query: dict[str, Any], more: dict[str, Any]
    ) -> None:
        """``until`` without these is refused, for no index answers it."""
        with pytest.raises(InvalidValue):
            datastore.find(FindQuery(until="9", **query, **more))
        if more:
            with pytest.raises(InvalidValue):
                datastore.find(FindQuery(until="9", status="failed", job_type="x", **more))

    def test_find_pages_with_odd_texts(self, datastore: Datastore, jobs: Any) -> None:
        """Paging works with spaces and quotes in times."""
        dues = ["1 a", "1", "1 'b\"", "1 a b", "%", "1\\"]
        keys = jobs(*[{"due": due} for due in dues])
        expected = [key for _, key in sorted(zip(dues, keys, strict=True))]
        assert self.found(datastore, limit=1, due="9") == expected
        if datastore.can_find_ended:
            for key, end in zip(keys, dues, strict=True):
                datastore.mutate(key, [Set("status", "failed"), Set("jobType", "a 'b\"\0c"), Set("finishedAt", end)])
            query: dict[str, Any] = {"status": "failed", "job_type": "a 'b\"\0c", "until": "9"}
            assert self.found(datastore, limit=1, **query) == expected

    def test_find_last_page(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """A page that is exactly full and the last one is marked as the last."""
        jobs({}, {})
        assert datastore.find(FindQuery(limit=2, **every)).after is None
        assert datastore.find(FindQuery(limit=1, **every)).after is not None

    @pytest.mark.parametrize("limit", [0, -1])
    def test_find_limit(self, datastore: Datastore, jobs: Any, limit: int) -> None:
        """A page size that would never make progress is refused."""
        with pytest.raises(InvalidValue):
            datastore.find(FindQuery(limit=limit))

    def test_find_gives_heads(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """The result has heads: all fields as they are now, no history."""
        (key,) = jobs({"a": 1, "events": [1, 2]})
        datastore.mutate(key, [Set("a", 2), Set("b", None), Append("errors", 1)])
        assert datastore.find(FindQuery(**every)).heads == [{"status": "queued", "key": key, "a": 2, "b": None}]

    def test_find_follows_changes(self, datastore: Datastore, jobs: Any) -> None:
        """A change of the fields in the query is found at once."""
        a, b = jobs({"due": "1"}, {"due": "2"})
        datastore.mutate(a, [Set("status", "running"), Set("due", "3")])
        assert self.found(datastore, status="running") == [a]
        assert self.found(datastore, status="queued") == [b]
        assert self.found(datastore, due="9") == [b, a]

    def test_find_follows_deletion(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """A deleted document is not found any more."""
        if not datastore.can_delete:
            pytest.skip("this adapter can't delete")
        a, b = jobs({}, {})
        datastore.delete(a)
        assert self.found(datastore, **every) == [b]

    @pytest.mark.parametrize("status", [None, 1, ["queued"]], ids=repr)
    def test_find_excludes_what_does_not_match(self, datastore: Datastore, jobs: Any, every: Any, status: Any) -> None:
        """Documents that are no jobs, having no text for a status, are left out."""
        (key,) = jobs({"due": "1"})
        datastore.create("zerog_worker_a", {"due": "1", "key": "worker"})
        datastore.create("zerog_worker_b", {"status": status, "due": "1", "key": "worker"})
        assert self.found(datastore, **every) == self.found(datastore, due="9") == [key]

    def test_find_leaves_unreadable_ones_out(self, datastore: Datastore, jobs: Any, every: Any) -> None:
        """Documents that can't be read are left out, and those around them are found."""
        a, b, c, d = jobs(*[{"due": "1"}] * 4)
        self.corrupt(datastore, b)
        self.corrupt(datastore, c)
        assert self.found(datastore, limit=1, **every) == self.found(datastore, due="9") == [a, d]
        assert set(datastore.find(FindQuery(**every)).unreadable) <= {b, c}

    def corrupt(self, datastore: Datastore, key: str) -> None:
        """Make the stored document unreadable, bypassing the adapter. Overridden for each adapter that can."""
        pytest.skip("this adapter has no way to make a document unreadable")
