"""The SQL of ``find`` and ``count`` over the rows of an SQLite file."""

from __future__ import annotations

from typing import Any

from zerog.contracts.find import FindQuery

_PLAIN = "{} NOT GLOB '*[^ -~]*'"
"""True for ASCII text, which is all that the engine writes: other text may be no UTF-8, which fails the query."""

DECODABLE = _PLAIN.format("key")
"""True for a key that can be decoded."""


def question(query: FindQuery) -> tuple[list[str], list[Any], str]:
    """Return the conditions of a query, their parameters, and its order."""
    where: list[str] = ["typeof(status) = 'text'", "typeof(key) = 'text'"]
    parameters: list[Any] = []
    for column, value in query.wanted.items():
        where.append(f"{column} = ?")
        parameters.append(value)
    time, way = query.time, " DESC" if query.is_descending else ""
    if time is not None:
        where.append(f"typeof({time}) = 'text' AND {_PLAIN.format(time)}")
    for bound, is_beyond in ((query.latest, "<="), (query.since, ">=")):
        if bound is not None:
            where.append(f"{time} {is_beyond} ?")
            parameters.append(bound)
    if query.after is not None:
        is_ahead = "<" if way else ">"
        where.append(f"key {is_ahead} ?" if time is None else f"({time}, key) {is_ahead} (?, ?)")
        parameters.extend(query.start)
    return where, parameters, f"key{way}" if time is None else f"{time}{way}, key{way}"


def counting(query: FindQuery, limit: int) -> tuple[str, list[Any]]:
    """Return the statement that counts ``limit`` jobs to which an index narrows a query, and those that match it."""
    where, parameters, _ = question(query.narrowed)
    fits = " AND ".join(f"{column} = ?" for column in query.rest) or "1"
    narrowed = f"SELECT {fits} AS fits FROM zerog_documents WHERE {' AND '.join(where)} LIMIT ?"
    return f"SELECT count(*), coalesce(sum(fits), 0) FROM ({narrowed})", [*query.rest.values(), *parameters, limit]
