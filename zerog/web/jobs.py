"""Show jobs: one of them, or those that match filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marshmallow import ValidationError

from zerog.exceptions import InvalidValue, UnknownJobType
from zerog.query import Query
from zerog.records.fields import HISTORY
from zerog.records.job import Document
from zerog.records.operations import dropped_field
from zerog.web.answer import Answer
from zerog.web.call import Call
from zerog.web.requests import cursor_of


def progress(call: Call) -> Answer:
    """Return how far a job is."""
    head = call.head()
    return Answer(call.app.progress_of(head), is_tagged=True)


def info(call: Call) -> Answer:
    """Return progress and history."""
    document = call.read(head=False)[0]
    return Answer(call.app.registry.info(document, call.app.clock.now(), call.app.fleet.past.seconds), is_tagged=True)


def data(call: Call) -> Answer:
    """Return the result: what ``get_data`` of its class gives, or of an unknown class the stored output."""
    head = call.head()
    return Answer({"data": _data(call, head), "status": head.get("status"), "result": head.get("resultCode")})


def plain_data(call: Call) -> Answer:
    """Return the result alone, as the earlier API did."""
    return Answer(_data(call, call.head()))


def _data(call: Call, head: Document) -> Any:
    try:
        return call.app.get_job(head["uuid"]).get_data()
    except UnknownJobType:
        return head.get("output")


def document(call: Call) -> Answer:
    """Return a document as it is stored, with secrets hidden and a page of each list of its history."""
    start, limit = call.query["start"], call.query["limit"]
    stored, token = call.read(head=limit == 0)
    shown = dict(call.app.registry.shown(stored))
    pages = {}
    for name in HISTORY:
        entries = shown.pop(name, None) or []
        dropped = shown.get(dropped_field(name)) or 0
        first = max(0, start - dropped)
        shown[name] = entries[first : first + limit]
        more = first + limit < len(entries) and limit > 0
        pages[name] = {
            "first": dropped,
            "total": dropped + len(entries),
            "next": dropped + first + limit if more else None,
        }
    headers = {"ETag": f'"{token}"'}
    return Answer({"cas": str(token), "document": shown, "history": pages}, headers=headers)


def dump(call: Call) -> Answer:
    """Return a document as it is stored, with secrets hidden: with or without its history, as the earlier API did."""
    return Answer(call.app.registry.shown(call.read(head=not call.query["showLogs"])[0]))


def list_jobs(call: Call) -> Answer:
    """Return a page of the jobs that match."""
    filters = checked(call)
    limit, after = filters.pop("limit"), filters.pop("cursor", None)
    page = query_of(filters).page(call.app.datastore, call.app.clock, after, limit)
    jobs = [call.app.progress_of(head) for head in page.heads]
    return Answer({"jobs": jobs, "next": cursor_of(page.after)})


def count(call: Call) -> Answer:
    """Return how many jobs match, up to a cap."""
    found = query_of(checked(call)).count(call.app.datastore)
    return Answer({"number": found.number, "is_capped": found.is_capped})


def checked(call: Call) -> dict[str, Any]:
    """Return the filters of a request. Raises ValidationError for attributes that can't be found here."""
    if "attr" in call.query:
        if not call.app.datastore.can_find_terms:
            raise ValidationError({"attr": ["The datastore has no index of attributes."]})
        try:
            call.app.registry.check_attributes(_attributes(call.query["attr"]), call.query.get("type"))
        except InvalidValue as error:
            raise ValidationError({"attr": [str(error)]}) from error
    if "parked" in call.query and not call.app.datastore.can_find_terms:
        raise ValidationError({"parked": ["The datastore has no index of attributes, so no jobs are parked."]})
    return dict(call.query)


def query_of(filters: dict[str, Any]) -> Query:
    """Return the filters of a request as a query."""
    attrs = _attributes(filters.pop("attr", ()))
    return Query(job_type=filters.pop("type", None), attrs=attrs or None, **filters)


def _attributes(given: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in given)}
