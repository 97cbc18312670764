"""Take the values of a request: its query and its body."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields
from starlette.requests import ClientDisconnect, Request

from zerog.web.call import Endpoint
from zerog.web.fields import decoded
from zerog.web.problems import Problem


def query_of(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """Return the checked values of the query. Raises ValidationError by name."""
    given: dict[str, Any] = {}
    known = {} if endpoint.query is None else endpoint.query.load_fields
    for name, value in request.query_params.multi_items():
        if isinstance(known.get(name), fields.List):
            given.setdefault(name, []).append(value)
            continue
        if name in given:
            raise ValidationError({name: ["Given twice."]})
        given[name] = value
    if endpoint.query is None:
        if given:
            raise ValidationError({name: ["Unknown field."] for name in given})
        return {}
    taken: dict[str, Any] = endpoint.query.load(given)
    return taken


async def body_of(endpoint: Endpoint, request: Request) -> Any:
    """Return the JSON value of the body, an empty object if there is none. Raises Problem."""
    try:
        body = await request.body()
    except ClientDisconnect:
        raise Problem(400, "BadRequest", "The body wasn't sent to its end.") from None
    if endpoint.body is None:
        if body:
            raise Problem(422, "ValidationError", "This takes no body.")
        return {}
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "NotJson", "The body has to be sent as application/json.")
    try:
        return decoded(body)
    except ValueError as error:
        raise Problem(400, "BadJson", f"The body is no JSON: {error}.") from None
