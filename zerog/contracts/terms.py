"""The common part of adapters that find jobs by their terms: an index gives places, heads are read and compared.

An index has for each term of a job the place of the job, by its creation. A query takes the rarest of its terms; all
else is compared with the heads, LOOK of them for a page, so that each page costs the same however much doesn't match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zerog.contracts.datastore import Datastore
from zerog.contracts.find import Count, FindQuery, Page
from zerog.records.attrs import Term
from zerog.records.operations import Document
from zerog.support import jsonvalues

LOOK = 2_000
"""Heads that are compared for one page, at most; so a page may be empty and still not the last."""

AT_ONCE = 200
"""Places that are read at a time, at least, where not all of them may match."""

RARE = 1_000
"""Up to so many jobs are counted to choose the rarest of several terms."""

Place = list[str]
"""Time of creation, and key."""


class TermDatastore(Datastore):
    """A datastore with an index of terms. The subclass reads the index."""

    can_find_terms = True

    def places(self, term: Term, query: FindQuery, start: Place, limit: int) -> list[Place]:
        """Return the places of jobs with a term, after ``start`` in the order and within the times of the query.

        Some may be out of date. Raises the errors of ``find``.
        """
        raise NotImplementedError

    def number(self, term: Term, query: FindQuery, most: int) -> int:
        """Return how many places ``places`` has, up to ``most``."""
        raise NotImplementedError

    def tally(self, places: Sequence[Place], term: Term, query: FindQuery) -> int:
        """Return how many of the jobs at these places, all of which have ``term``, match the query.

        By reading their heads; the subclass may have a cheaper way. Raises the errors of ``find``.
        """
        heads = self.read_heads([key for _, key in places]).found
        return sum(query.place(key, head) is not None for key, head in heads.items())

    def find_by_terms(self, query: FindQuery) -> Page:
        """Return what ``find`` has to for a query with terms."""
        term, start, looked = self._rarest(query), query.start, 0
        heads, unreadable, last = list[Document](), list[str](), start
        is_exact = query.terms == [term] and not query.rest
        while looked < LOOK:
            size = min(LOOK - looked, query.limit + 1 if is_exact else max(AT_ONCE, query.limit + 1))
            places = self.places(term, query, start, size)
            read = self.read_heads([key for _, key in places])
            for place in places:
                key = place[1]
                if key in read.unreadable:
                    unreadable.append(key)
                elif key in read.found and query.place(key, read.found[key]) is not None:
                    if len(heads) == query.limit:
                        return Page(heads, jsonvalues.encode_checked(last), unreadable)
                    heads.append(read.found[key])
                    last = place
            if len(places) < size:
                return Page(heads, None, unreadable)
            start = places[-1]
            looked += size
        return Page(heads, jsonvalues.encode_checked(start), unreadable)

    def count_by_terms(self, query: FindQuery, cap: int) -> Count:
        """Return what ``count`` has to for a query with terms: exact if an index alone answers it."""
        term = self._rarest(query)
        there = self.number(term, query, cap + 1)
        if query.terms == [term] and not query.rest:
            return Count(min(there, cap), there > cap)
        number, left, narrowed = 0, cap, replace(query.narrowed, attrs=(), error=None)
        start = list[str]()
        while left > 0 and (places := self.places(term, narrowed, start, min(left, LOOK))):
            number += self.tally(places, term, query)
            start = places[-1]
            left -= len(places)
        return Count(number, there > cap)

    def _rarest(self, query: FindQuery) -> Term:
        terms = query.terms
        if len(terms) == 1:
            return terms[0]
        return min(terms, key=lambda term: self.number(term, query, RARE))
