"""Rules about finding documents by attributes and errors; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.contracts.terms import LOOK
from zerog.exceptions import DatastoreError, InvalidValue
from zerog.records.operations import Document, Operation, Put, Remove, Set
from zerog.testing.contracts.datastore.counting import CountRules

ODD = "a 'b\"\0c\\é$.%"


class TermRules(CountRules):
    """Rules for ``attrs`` and ``error`` of ``find`` and ``count``."""

    @pytest.fixture
    def terms(self, datastore: Datastore, jobs: Any) -> Any:
        """Return the function ``jobs``, for an adapter that finds by terms."""
        if not datastore.can_find_terms:
            pytest.skip("this adapter can't find by attributes and errors")

        def store(*documents: Document) -> list[str]:
            times = [{"createdAt": str(number)} for number in range(len(documents))]
            return list(jobs(*[{**time, **document} for time, document in zip(times, documents, strict=True)]))

        return store

    def by(self, datastore: Datastore, limit: int = 1_000, **query: Any) -> list[str]:
        """Return the keys of all pages, the oldest job first; check that ``count`` agrees."""
        query = {"order": "oldest", **query}
        found = self.found(datastore, limit=limit, **query)
        assert datastore.count(FindQuery(**query)) == (len(found), False)
        return found

    def test_find_by_terms_raises_if_it_cannot(self, datastore: Datastore, jobs: Any) -> None:
        """An adapter that can't find by attributes raises, instead of returning all or nothing."""
        if datastore.can_find_terms or not datastore.can_find:
            pytest.skip("this adapter finds by them, or nothing at all")
        jobs({})
        for query in (FindQuery(order="oldest", attrs=(("a", "1"),)), FindQuery(order="oldest", error="x")):
            with pytest.raises(DatastoreError):
                datastore.find(query)
            with pytest.raises(DatastoreError):
                datastore.count(query)

    def test_find_by_terms_takes_an_order(self, datastore: Datastore) -> None:
        """Without an order such a query is refused."""
        with pytest.raises(InvalidValue):
            datastore.find(FindQuery(attrs=(("a", "1"),)))
        with pytest.raises(InvalidValue):
            datastore.count(FindQuery(status="failed", error="x"))

    def test_find_by_attributes(self, datastore: Datastore, terms: Any) -> None:
        """Jobs are found that have all the given attributes, with exactly these texts, in the order of creation."""
        a, b, c, *_ = terms(
            {"attrs": {"x": "1", "y": "1"}},
            {"attrs": {"x": "1", "y": "2"}},
            {"attrs": {"y": "1", "x": "1"}, "status": "failed"},
            {"attrs": {"x": "10"}},
            {"attrs": {"y": "1"}},
            {"attrs": {"x": 1}},
            {"attrs": "x"},
            {"attrs": None, "x": "1"},
            {},
        )
        assert self.by(datastore, attrs=(("x", "1"),)) == [a, b, c]
        assert self.by(datastore, attrs=(("x", "1"),), order="newest") == [c, b, a]
        assert self.by(datastore, attrs=(("x", "1"), ("y", "1"))) == [a, c]
        assert self.by(datastore, attrs=(("y", "1"), ("x", "1"))) == [a, c]
        assert self.by(datastore, attrs=(("x", "1"), ("z", "1"))) == []
        assert self.by(datastore, attrs=(("x", ""),)) == self.by(datastore, attrs=(("X", "1"),)) == []

    def test_find_by_attributes_with_the_rest(self, datastore: Datastore, terms: Any) -> None:
        """Status, type, queue and times of creation restrict them further."""
        attrs: Document = {"attrs": {"x": "1"}}
        a, b, c, d = terms(
            {**attrs, "jobType": "t"}, {**attrs, "queueName": "q"}, {**attrs, "status": "failed", "jobType": "t"}, attrs
        )
        query: dict[str, Any] = {"attrs": (("x", "1"),)}
        assert self.by(datastore, status="queued", **query) == [a, b, d]
        assert self.by(datastore, status="failed", job_type="t", **query) == [c]
        assert self.by(datastore, job_type="t", **query) == [a, c]
        assert self.by(datastore, queue="q", **query) == [b]
        assert self.by(datastore, since="1", until="2", **query) == [b, c]
        assert self.by(datastore, since="1", status="queued", order="newest", **query) == [d, b]

    def test_find_by_error(self, datastore: Datastore, terms: Any) -> None:
        """Jobs are found by the type of the last error, with and without its module, and by its fingerprint."""
        a, b, *_ = terms(
            {"lastError": {"type": "shop.db.Closed", "fingerprint": "f1", "msg": "no"}},
            {"lastError": {"type": "Closed", "fingerprint": "f2"}, "attrs": {"x": "1"}},
            {"lastError": {"type": None, "msg": "Closed"}},
            {"lastError": None, "attrs": {"": "Closed", "x": "f1"}},
            {"lastError": "Closed"},
        )
        assert self.by(datastore, error="Closed") == [a, b]
        assert self.by(datastore, error="shop.db.Closed") == self.by(datastore, error="f1") == [a]
        assert self.by(datastore, error="Closed", attrs=(("x", "1"),)) == self.by(datastore, error="f2") == [b]
        assert self.by(datastore, error="closed") == self.by(datastore, error="shop.db") == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 8])
    def test_find_by_terms_pages(self, datastore: Datastore, terms: Any, limit: int) -> None:
        """Pages put together are the whole, in order, however many were created at the same time."""
        keys = terms(*[{"attrs": {"x": "1"}, "createdAt": str(n // 3)} for n in range(7)])
        query: dict[str, Any] = {"attrs": (("x", "1"),)}
        assert self.by(datastore, limit=limit, **query) == keys
        assert self.by(datastore, limit=limit, order="newest", **query) == keys[::-1]
        assert datastore.count(FindQuery(order="oldest", **query), 3) == (3, True)

    @pytest.mark.parametrize("attribute", ["x", ODD])
    @pytest.mark.parametrize("text", [ODD, "", "x" * 128, "\0", "é" * 128], ids=ascii)
    def test_find_by_odd_texts(self, datastore: Datastore, terms: Any, attribute: str, text: str) -> None:
        """Names and texts of any characters are found, and those that begin alike aren't."""
        a, b, *_ = terms(
            {"attrs": {attribute: text}},
            {"attrs": {attribute: text}, "createdAt": ODD},
            {"attrs": {attribute: text[:-1] + "?"}},
            {"attrs": {attribute + "?": text}},
        )
        for limit in (1, 9):
            assert self.by(datastore, limit=limit, attrs=((attribute, text),)) == [a, b]

    @pytest.mark.parametrize(
        ("operations", "found"),
        [
            ([Put("attrs", "x", "2")], ["2"]),
            ([Put("attrs", "x", None)], []),
            ([Put("attrs", "y", "2")], ["1", "y"]),
            ([Set("attrs", {"x": "2"})], ["2"]),
            ([Set("attrs", None)], []),
            ([Remove("attrs")], []),
            ([Set("status", "failed"), Set("finishedAt", "5")], ["1"]),
            ([Set("createdAt", "9")], ["1"]),
            ([Set("lastError", {"type": "E"}), Put("attrs", "x", "2")], ["2", "E"]),
            ([Set("lastError", {"type": "E"})], ["1", "E"]),
            ([Set("createdAt", None)], []),
        ],
        ids=repr,
    )
    def test_find_by_terms_follows_changes(
        self, datastore: Datastore, terms: Any, operations: list[Operation], found: list[str]
    ) -> None:
        """Each change of attributes, error or time of creation is found at once, and nothing of what was before."""
        (key,) = terms({"attrs": {"x": "1"}, "a": 1})
        datastore.mutate(key, operations)
        queries: dict[str, dict[str, Any]] = {
            "1": {"attrs": (("x", "1"),)},
            "2": {"attrs": (("x", "2"),)},
            "y": {"attrs": (("y", "2"),)},
            "E": {"error": "E"},
        }
        assert {name for name, query in queries.items() if self.by(datastore, **query) == [key]} == set(found)
        assert {name for name, query in queries.items() if self.by(datastore, **query)} == set(found)

    def test_find_by_terms_follows_errors(self, datastore: Datastore, terms: Any) -> None:
        """The last error alone counts; none is left once it is taken back."""
        (key,) = terms({"attrs": {"x": "1"}, "lastError": {"type": "A"}})
        datastore.mutate(key, [Set("lastError", {"type": "B"}), Set("a", 1)])
        assert (self.by(datastore, error="A"), self.by(datastore, error="B")) == ([], [key])
        datastore.mutate(key, [Set("lastError", None)])
        assert self.by(datastore, error="B") == []
        assert self.by(datastore, attrs=(("x", "1"),)) == [key]

    def test_find_by_terms_follows_whole_writes(self, datastore: Datastore, terms: Any) -> None:
        """A document that is written as a whole, or removed, is found by what it has now alone."""
        a, b = terms({"attrs": {"x": "1"}, "lastError": {"type": "A"}}, {"attrs": {"x": "1"}})
        token = datastore.read_with_cas(a)[1]
        assert token is not None
        other = {"status": "queued", "key": a, "createdAt": "7", "attrs": {"x": "2"}}
        datastore.set_with_cas(a, other, token)
        assert self.by(datastore, attrs=(("x", "1"),)) == [b]
        assert (self.by(datastore, attrs=(("x", "2"),)), self.by(datastore, error="A")) == ([a], [])
        datastore.set(b, {"status": "queued", "key": b})
        assert self.by(datastore, attrs=(("x", "1"),)) == []
        if datastore.can_delete:
            datastore.delete(a)
            assert self.by(datastore, attrs=(("x", "2"),)) == []
            datastore.create(a, {**other, "attrs": {"x": "3"}})
            assert (self.by(datastore, attrs=(("x", "2"),)), self.by(datastore, attrs=(("x", "3"),))) == ([], [a])

    def test_terms_are_no_fields(self, datastore: Datastore, key: str) -> None:
        """The index adds nothing to what is read."""
        document = {"status": "queued", "createdAt": "1", "attrs": {"x": "1"}, "lastError": {"type": "A"}}
        datastore.create(key, document)
        assert datastore.read(key) == document
        datastore.mutate(key, [Put("attrs", "y", "2"), Set("lastError", {"type": "B"})])
        assert datastore.read(key) == {**document, "attrs": {"x": "1", "y": "2"}, "lastError": {"type": "B"}}

    def test_a_page_is_bounded(self, datastore: Datastore, terms: Any) -> None:
        """What doesn't match costs a bounded number of heads a page: an empty page may not be the last one."""
        attrs: Document = {"attrs": {"x": "1"}, "createdAt": "1"}
        *_, last = terms(*[attrs] * (LOOK + 50), {**attrs, "createdAt": "2", "status": "failed"})
        query = FindQuery(order="oldest", attrs=(("x", "1"),), status="failed", limit=2)
        assert self.by(datastore, limit=2, attrs=(("x", "1"),), status="failed") == [last]
        assert len(datastore.find(query).heads) <= 1
