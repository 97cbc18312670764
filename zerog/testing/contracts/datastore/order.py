"""Rules about finding documents in the order of their creation; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.exceptions import DatastoreError, InvalidValue
from zerog.records.operations import Document, Set
from zerog.testing.contracts.datastore.find import FindRules

ORDERS = {"oldest": 1, "newest": -1}
"""Each order, and the step by which a list of the oldest first becomes one of it."""


class OrderRules(FindRules):
    """Rules for ``find`` with ``order``."""

    @pytest.fixture(params=ORDERS)
    def order(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def in_order(self, keys: list[str], order: str) -> list[str]:
        """Return keys, the oldest first, in an order."""
        return keys[:: ORDERS[order]]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_find_by_creation(self, datastore: Datastore, jobs: Any, every: Any, order: str, limit: int) -> None:
        """Jobs come by their creation whatever their keys, and by key if created together, on pages of any size."""
        dates = ["3", "1", "2", "1", "0", "3", "2"]
        keys = jobs(*[{"createdAt": date} for date in dates])
        expected = self.in_order([key for _, key in sorted(zip(dates, keys, strict=True))], order)
        assert self.found(datastore, limit=limit, order=order, **every) == expected
        assert self.found(datastore, limit=limit, order=order, status="queued") == expected

    def test_find_by_creation_of_all_statuses(self, datastore: Datastore, jobs: Any, order: str) -> None:
        """Without a status jobs come by their creation alone; with one, or other filters, only those that match."""
        a, b, c, d = jobs(
            {"createdAt": "4", "status": "failed", "jobType": "x"},
            {"createdAt": "3", "status": "queued", "queueName": "q"},
            {"createdAt": "2", "status": "running", "jobType": "x"},
            {"createdAt": "1", "status": "failed"},
        )
        assert self.found(datastore, order=order, status="running") == [c]
        assert self.found(datastore, order=order, status="queued", queue="q") == [b]
        assert self.found(datastore, order=order, status="queued", job_type="x") == []
        if not datastore.can_find_ended:
            for status in (None, "failed"):
                with pytest.raises(DatastoreError):
                    datastore.find(FindQuery(order=order, status=status))
            return
        for limit in (1, 2, 3, 4):
            assert self.found(datastore, limit=limit, order=order) == self.in_order([d, c, b, a], order)
            assert self.found(datastore, limit=limit, order=order, status="failed") == self.in_order([d, a], order)
            assert self.found(datastore, limit=limit, order=order, job_type="x") == self.in_order([c, a], order)

    def test_find_created_between(self, datastore: Datastore, jobs: Any, every: Any, order: str) -> None:
        """``since`` and ``until`` leave out what was created before and after, and take what was created then."""
        keys = jobs(*[{"createdAt": str(n)} for n in range(6)])
        for query in (every, {"status": "queued"}):
            for limit in (1, 2, 6):
                bounds: list[tuple[Document, list[str]]] = [
                    ({"since": "2"}, keys[2:]),
                    ({"until": "3"}, keys[:4]),
                    ({"since": "2", "until": "3"}, keys[2:4]),
                    ({"since": "3", "until": "2"}, []),
                    ({"since": "6"}, []),
                ]
                for given, expected in bounds:
                    found = self.found(datastore, limit=limit, order=order, **query, **given)
                    assert found == self.in_order(expected, order)

    def test_find_by_creation_follows_changes(self, datastore: Datastore, jobs: Any, every: Any, order: str) -> None:
        """A transition, an end, another time, a rewritten document and a removal are found at once."""
        a, b = jobs({"createdAt": "2"}, {"createdAt": "1"})
        for _ in range(2):
            for status in ("running", "scheduled"):
                datastore.mutate(b, [Set("status", status), Set("due", "1")])
                assert self.found(datastore, order=order, status=status) == [b]
                assert self.found(datastore, order=order, status="queued") == [a]
            datastore.mutate(b, [Set("status", "failed"), Set("due", None), Set("finishedAt", "3")])
            assert self.found(datastore, order=order, status="scheduled") == []
            if datastore.can_find_ended:
                assert self.found(datastore, order=order, status="failed") == [b]
                assert self.found(datastore, order=order) == self.in_order([b, a], order)
            datastore.mutate(b, [Set("status", "queued"), Set("finishedAt", None)])
            assert self.found(datastore, order=order, **every) == self.in_order([b, a], order)
        datastore.mutate(a, [Set("createdAt", "0")])
        assert self.found(datastore, order=order, **every) == self.in_order([a, b], order)
        token = datastore.read_with_cas(a)[1]
        assert token is not None
        datastore.set_with_cas(a, {"status": "queued", "key": a, "createdAt": "5"}, token)
        assert self.found(datastore, order=order, **every) == self.in_order([b, a], order)
        if datastore.can_delete:
            datastore.delete(a)
            assert self.found(datastore, order=order, **every) == [b]

    @pytest.mark.parametrize("date", [None, 5, True, ["1"], {"a": "1"}], ids=repr)
    def test_find_by_creation_excludes_what_does_not_match(
        self, datastore: Datastore, jobs: Any, every: Any, order: str, date: Any
    ) -> None:
        """What has no text there, or is no job, is left out; without an order the job is found."""
        a, b, c = jobs({"createdAt": "1"}, {"createdAt": date}, {})
        datastore.create("zerog_worker_a", {"createdAt": "1", "key": "worker"})
        assert self.found(datastore, order=order, **every) == [a]
        assert self.found(datastore, order=order, status="queued") == [a]
        assert self.found(datastore, **every) == [a, b, c]
        datastore.mutate(b, [Set("createdAt", "0")])
        assert self.found(datastore, order=order, status="queued") == self.in_order([b, a], order)
        datastore.mutate(a, [Set("createdAt", date)])
        assert self.found(datastore, order=order, status="queued") == [b]

    def test_find_by_creation_pages_with_odd_texts(
        self, datastore: Datastore, jobs: Any, every: Any, order: str
    ) -> None:
        """Paging works with spaces and quotes in times."""
        dates = ["1 a", "1", "1 'b\"", "1 a b", "%", "1\\"]
        keys = jobs(*[{"createdAt": date} for date in dates])
        expected = [key for _, key in sorted(zip(dates, keys, strict=True))]
        assert self.found(datastore, limit=1, order=order, **every) == self.in_order(expected, order)

    def test_find_by_creation_leaves_unreadable_ones_out(
        self, datastore: Datastore, jobs: Any, every: Any, order: str
    ) -> None:
        """Documents that can't be read are left out, and those around them are found."""
        a, b, c, d = jobs(*[{"createdAt": "1"}] * 4)
        self.corrupt(datastore, b)
        self.corrupt(datastore, c)
        assert self.found(datastore, limit=1, order=order, **every) == self.in_order([a, d], order)

    @pytest.mark.parametrize(
        "query", [{"order": "random"}, {"order": ""}, {"order": "oldest", "due": "1"}, {"since": "1"}], ids=repr
    )
    def test_find_takes_an_order(self, datastore: Datastore, query: dict[str, Any]) -> None:
        """An unknown order, one of what is due, and a time of creation without an order are refused."""
        with pytest.raises(InvalidValue):
            datastore.find(FindQuery(**query))
