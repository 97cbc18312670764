"""The SQL of the index of terms; ``tables`` describes it."""

from __future__ import annotations

from typing import Any

from zerog.backends.postgres.rows import indexed, indexed_term
from zerog.backends.postgres.search import COLUMNS
from zerog.contracts.find import FindQuery
from zerog.records.attrs import Term


def of_term(term: Term, query: FindQuery, start: list[str], limit: int) -> tuple[str, dict[str, Any]]:
    """Return the statement that lists the times and keys of a term, after ``start``, and its parameters."""
    where = ["name = %(name)s", "term = %(term)s"]
    parameters: dict[str, Any] = {"name": indexed_term(term.name), "term": indexed_term(term.text), "limit": limit}
    for name, bound, is_within in (("latest", query.until, "<="), ("since", query.since, ">=")):
        if bound is not None:
            where.append(f"created {is_within} %({name})s")
            parameters[name] = indexed(bound)
    way, is_ahead = (" DESC", "<") if query.is_descending else ("", ">")
    if start:
        where.append(f"(created, key) {is_ahead} (%(place)s, %(after)s)")
        parameters["place"], parameters["after"] = start
    return (
        f"SELECT created, key FROM {{schema}}.zerog_terms WHERE {' AND '.join(where)} "
        f"ORDER BY created{way}, key{way} LIMIT %(limit)s"
    ), parameters


def comparing(keys: list[str], term: Term, query: FindQuery) -> tuple[str, dict[str, Any]]:
    """Return the statement that counts those of these jobs, all with a term, that match a query; its parameters."""
    where, parameters = ["d.key = ANY(%(keys)s)", "d.status IS NOT NULL"], {"keys": keys, **query.wanted}
    where += [f"d.{COLUMNS[field]} = %({field})s" for field in query.wanted]
    for n, other in enumerate(each for each in query.terms if each != term):
        where.append(
            f"EXISTS (SELECT FROM {{schema}}.zerog_terms t WHERE t.name = %(name{n})s AND t.term = %(term{n})s "
            "AND t.created = d.created AND t.key = d.key)"
        )
        parameters |= {f"name{n}": indexed_term(other.name), f"term{n}": indexed_term(other.text)}
    return f"SELECT count(*) FROM {{schema}}.zerog_documents d WHERE {' AND '.join(where)}", parameters
