"""The SQL of ``find`` and ``count`` over the rows of a PostgreSQL database."""

from __future__ import annotations

from typing import Any

from zerog.backends.postgres.rows import indexed
from zerog.contracts.find import FindQuery

COLUMNS = {
    "status": "status",
    "jobType": "job_type",
    "queueName": "queue",
    "due": "due",
    "createdAt": "created",
    "finishedAt": "finished",
}
"""The columns of fields that ``find`` compares."""


def question(query: FindQuery) -> tuple[str, dict[str, Any]]:
    """Return the statement of a query and its parameters; each row ends with the time that it is ordered by."""
    where, parameters, time = conditions(query)
    way, is_ahead = (" DESC", "<") if query.is_descending else ("", ">")
    ordered = {"d.key": "after"} if time is None else {time: "place", "d.key": "after"}
    if query.status is not None and query.until is None:
        # A range, and the status in the order: else the plan for any status walks through all jobs by key or time.
        where.remove("d.status = %(status)s")
        where += ["d.status >= %(status)s", "d.status < %(beyond)s"]
        parameters["beyond"] = f"{parameters['status']} "
        ordered = {"d.status": "status", **ordered}
    if query.after is not None:
        *place, parameters["after"] = query.start
        parameters["place"] = place[0] if place else None
        values = ", ".join(f"%({name})s" for name in ordered.values())
        where.append(f"({', '.join(ordered)}) {is_ahead} ({values})")
    order = ", ".join(f"{column}{way}" for column in ordered)
    columns_of_row = "d.key, d.id, d.cas, d.lists, d.state, d.sound, d.body"
    return (
        f"SELECT {columns_of_row}, {time or 'NULL'} FROM {{schema}}.zerog_documents d "
        f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT %(limit)s"
    ), {**parameters, "limit": query.limit + 1}


def conditions(query: FindQuery) -> tuple[list[str], dict[str, Any], str | None]:
    """Return the conditions for the jobs of all pages, their parameters, and the column of the time, if any."""
    where = ["d.status IS NOT NULL"]
    parameters: dict[str, Any] = {}
    for field, value in query.wanted.items():
        where.append(f"d.{COLUMNS[field]} = %({field})s")
        parameters[field] = indexed(value)
    time = None if query.time is None else f"d.{COLUMNS[query.time]}"
    if time is not None:
        where.append(f"{time} IS NOT NULL")
    for name, bound, is_within in (("latest", query.latest, "<="), ("since", query.since, ">=")):
        if bound is not None:
            where.append(f"{time} {is_within} %({name})s")
            parameters[name] = indexed(bound)
    return where, parameters, time
