"""Jobs submitted together have the documents that they would have one by one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import head_of
from zerog.records.fields import HISTORY
from zerog.records.job import make_key

OWN = {"uuid", "logId", "createdAt", "updatedAt", "queuedAt", "queueJobId", "notBefore", "due", "expiresAt"}
"""Fields in which two jobs differ that are submitted one after the other."""


class Params(Schema):
    n = fields.Integer(load_default=5)
    names = fields.List(fields.String(), load_default=list)
    day = fields.Date()
    note = fields.String(allow_none=True)


class State(Schema):
    seen = fields.Dict(load_default=dict)


def register(app: zerog.App, **attributes: Any) -> None:
    base: dict[str, Any] = {"JOB_TYPE": "made", "run": lambda job: None, "Params": Params, "State": State}
    app.register(type("Made", (zerog.BaseJob,), {**base, **attributes}))


def stored(app: zerog.App, uuid: str) -> dict[str, Any]:
    """A job's document without what is its own."""
    document = app.datastore.read(make_key(uuid))
    assert document is not None
    return {name: value for name, value in document.items() if name not in OWN}


GIVEN: list[dict[str, Any]] = [
    {},
    {"n": 1},
    {"n": 2, "names": ["a"], "day": "2026-12-01"},
    {"note": None},
    {"n": 2, "note": "\0é"},
    {},
]
CLASSES: list[dict[str, Any]] = [
    {},
    {"ATTRIBUTES": ("n", "note")},
    {"MAX_EVENTS": 7, "STALLED_AFTER": 9.0, "PRIORITY": 3, "QUEUE": "other"},
    {"MAX_DOCUMENT": 1_000_000},
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"priority": 2, "queue": "mine", "headers": {"a": "b"}, "max_errors": 7, "timeout": 9},
    {"delay": 60, "expires": 90},
]


@pytest.mark.parametrize("attributes", CLASSES, ids=lambda each: ",".join(each) or "plain")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: ",".join(each) or "none")
def test_documents_are_those_of_single_submits(
    adapter_app: zerog.App, attributes: dict[str, Any], options: dict[str, Any]
) -> None:
    app = adapter_app
    register(app, **attributes)
    together = app.submit_many("made", GIVEN, **options)
    alone = [app.submit("made", each, **options).uuid for each in GIVEN]
    assert [stored(app, uuid) for uuid in together] == [stored(app, uuid) for uuid in alone]
    heads = [head_of(app.get_job(uuid)) for uuid in together]
    assert [head["uuid"] for head in heads] == together and len(set(together)) == len(GIVEN)
    assert [head["logId"] for head in heads] == [uuid[-8:] for uuid in together]
    assert all(head["queueState"] == "queued" and head["queueJobId"] for head in heads)
    assert [head["notBefore"] is None for head in heads] == ["delay" not in options] * len(heads)


def test_they_share_nothing_that_a_run_changes(app: zerog.App) -> None:
    register(app)
    one, other = app.submit_many("made", [{}, {}])
    job: Any = app.get_job(one)
    job.record_event("only here")
    job.update_attrs(names=["x"], seen={"a": 1})
    second: Any = app.get_job(other)
    assert (second.events, second.names, second.seen) == ([], [], {})
    assert all(not second.dump()[name] for name in HISTORY)


def test_a_class_of_its_own_mind_makes_each_of_its_jobs(app: zerog.App) -> None:
    """Its ``__init__`` and the app's middleware see all of them."""
    made: list[int] = []

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        zerog.BaseJob.__init__(self, *args, **kwargs)
        made.append(self.n)

    register(app, __init__=__init__)
    app.submit_many("made", [{"n": 1}, {"n": 2}])
    assert made == [1, 2]


def test_middleware_has_each_of_the_jobs(app: zerog.App) -> None:
    register(app)
    app.submit_middleware(headed)
    uuids = app.submit_many("made", [{"n": 1}, {"n": 2}])
    assert [app.get_job(uuid).headers for uuid in uuids] == [{"n": "1"}, {"n": "2"}]


def headed(jobs: Any) -> Any:
    """Give each job a header of its own."""
    for job in jobs:
        job.headers = {"n": str(job.n)}
    return nullcontext()


def test_nothing_is_stored_of_a_batch_with_what_is_no_attribute(app: zerog.App) -> None:
    register(app, ATTRIBUTES=("note",))
    given: list[Mapping[str, Any]] = [{"note": "x"}, {"note": "x" * 10_000}]
    with pytest.raises(zerog.exceptions.InvalidValue, match="note"):
        app.submit_many("made", given)
    assert app.count().number == 0
