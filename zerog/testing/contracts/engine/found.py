"""Rules of engines: jobs are found by what their documents have, whatever fails on the way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.engine.engine import Engine
from zerog.engine.operator import Change
from zerog.engine.run import Run
from zerog.engine.transitions import Settlement
from zerog.exceptions import ZerogError
from zerog.records.attrs import Term, terms_of
from zerog.records.job import make_key
from zerog.records.operations import Operation, Put, Set
from zerog.support import failpoints
from zerog.support.failpoints import InjectedFailure
from zerog.testing.contracts.engine.builders import BOB, EngineRules

POINTS = [
    "submit.create",
    "submit.created",
    "run.write",
    "run.written",
    "settle.write",
    "settle.written",
    "rescue.written",
    "discard.deleted",
]
"""Crash points beside writes that may change what a job is found by."""

PLACES = ("new", "run", "settled", "edited", "late")
"""Texts of an attribute in the order of a job's writes."""


def check_found(datastore: Datastore, *gone: Term) -> None:
    """Check that jobs are found by exactly those terms (attributes, last errors) that their documents have.

    ``gone``: terms that documents may have had earlier. Without an index of terms there is nothing to check.
    """
    if not datastore.can_find_terms:
        return
    expected: dict[Term, list[str]] = {term: [] for term in gone}
    for key, head in _all(datastore, FindQuery()).items():
        for term in terms_of(head):
            expected.setdefault(term, []).append(key)
    for term, keys in expected.items():
        query = FindQuery(order="oldest", error=term.text)
        if term.name:
            query = FindQuery(order="oldest", attrs=((term.name, term.text),))
        assert sorted(_all(datastore, query)) == sorted(keys), f"documents and index disagree about {term}"
        assert datastore.count(query) == (len(keys), False)


def _all(datastore: Datastore, query: FindQuery) -> dict[str, dict[str, object]]:
    found, after = dict[str, dict[str, object]](), query.after
    while True:
        page = datastore.find(replace(query, after=after))
        found |= {make_key(head["uuid"]): head for head in page.heads}
        after = page.after
        if after is None:
            return found


class FoundRules(EngineRules):
    """Rules for attributes and errors, by which jobs are found."""

    @pytest.mark.parametrize("action", ["raise", "unknown"])
    @pytest.mark.parametrize("point", POINTS)
    def test_jobs_are_found_by_what_they_have_whatever_fails(self, engine: Engine, point: str, action: str) -> None:
        """A write that fails, or whose answer is lost, changes document and index together, or neither."""
        terms = [Term("place", place) for place in PLACES]
        failpoints.arm(point, action)
        try:
            with suppress(InjectedFailure, ZerogError):
                self._play(engine)
        finally:
            failpoints.disarm()
        check_found(engine.datastore, *terms)
        for claim in self.claim_all(engine, BOB):  # what a crash has left waiting
            engine.settle([Settlement(claim, "finish", 1, 200, operations=[Put("attrs", "place", "late")])])
        check_found(engine.datastore, *terms)
        self._play(engine)
        check_found(engine.datastore, *terms)

    def _play(self, engine: Engine) -> None:
        """Change what jobs are found by in each write of their lives."""
        ended = self.claimed(engine, attrs={"place": "new", "kept": "1"})
        rescued = self.claimed(engine, attrs={"place": "new"})
        for claim in (ended, rescued):
            run = Run(engine.datastore, claim.key, claim.run, clock=engine.clock)
            run.write([Put("attrs", "place", "run"), Set("lastError", {"type": "a.Broken", "fingerprint": "f1"})])
        engine.rescue(rescued.uuid, rescued.run, "lost", "its worker was silent")
        engine.edit(rescued.uuid, lambda _: Change([Put("attrs", "place", "edited")], {"place": {}}), "alice", "moved")
        settled: list[Operation] = [Put("attrs", "place", "settled"), Set("lastError", None)]
        engine.settle([Settlement(ended, "finish", 2, 200, operations=settled)])
        engine.discard(ended.uuid)
