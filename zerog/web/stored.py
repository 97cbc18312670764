"""Show what is stored beside the jobs: failures by their place in the code, and the schemas of types."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

from zerog.contracts.find import NEWEST
from zerog.exceptions import UnknownJobType
from zerog.maintenance.failures import grouped, locate
from zerog.schemas.stored import StoredSchemas
from zerog.web import answers, requests
from zerog.web.answer import Answer
from zerog.web.call import Call, Endpoint
from zerog.web.jobs import checked, query_of

LOOKED_AT = 5_000
"""Jobs that one request groups, at most, the newest ones: half as many as the command does, for others wait."""


def errors(call: Call) -> Answer:
    """Return failures grouped by where they happened."""
    filters = checked(call)
    limit = filters.pop("limit")
    datastore = call.app.datastore
    heads = query_of({**filters, "order": NEWEST}).heads(datastore, call.app.clock)
    groups = grouped(islice(heads, LOOKED_AT))[:limit]
    locate(datastore, groups)
    return Answer({"groups": [asdict(group) for group in groups], "is_capped": next(heads, None) is not None})


def types(call: Call) -> Answer:
    """Return the types of which schemas are stored."""
    return Answer({"types": list(StoredSchemas(call.app.engine).all())})


def schemas(call: Call) -> Answer:
    """Return the stored schemas of a type. Raises UnknownJobType."""
    name = call.path("type")
    found = StoredSchemas(call.app.engine).of_type(name)
    if not found:
        raise UnknownJobType(f"no schema of {name!r:.120} is stored; a worker stores those of its types when it starts")
    shown = [
        {
            "schemaVersion": one.described["schemaVersion"],
            "hash": one.hash,
            "builds": one.builds,
            "firstAt": one.first_at,
            "schema": one.described,
        }
        for one in found
    ]
    return Answer({"jobType": name, "schemas": shown})


STORED = (
    Endpoint(
        "GET",
        "/errors",
        "list",
        errors,
        "Failed jobs, grouped by where they failed",
        {200: ("Groups, the most frequent first.", answers.Groups)},
        query=requests.FailureGroups(),
    ),
    Endpoint(
        "GET",
        "/schemas",
        "read",
        types,
        "The types of which schemas are stored, also of those that no code here has",
        {200: ("Types.", answers.StoredTypes)},
        group="Types",
    ),
    Endpoint(
        "GET",
        "/schemas/{type}",
        "read",
        schemas,
        "The stored schemas of a type, by version and hash",
        {200: ("Schemas.", answers.StoredSchemas)},
        (404,),
        group="Types",
    ),
)
