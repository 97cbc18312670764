"""What answers hold, as marshmallow schemas: for the description alone, documents are passed on as they are."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from marshmallow import INCLUDE, fields, validate
from marshmallow import Schema as StrictSchema

from zerog.jobs import answers
from zerog.records.limits import KINDS


class Schema(StrictSchema):
    """An answer, which later versions may add to."""

    class Meta:
        unknown = INCLUDE


def _text(nullable: bool = False) -> fields.String:
    return fields.String(required=True, allow_none=nullable)


def _whole(nullable: bool = False) -> fields.Integer:
    return fields.Integer(required=True, allow_none=nullable)


def _object(nullable: bool = False) -> fields.Dict:
    return fields.Dict(required=True, allow_none=nullable)


def _flag() -> fields.Boolean:
    return fields.Boolean(required=True)


def _list(part: Any) -> fields.List[Any]:
    return fields.List(part, required=True)


class Problem(Schema):
    """Why a request was refused, and what that means for the job (RFC 9457)."""

    type = _text()
    title = _text()
    status = _whole()
    detail = _text()
    effect = _text()
    errors = fields.Raw(metadata={"description": "Messages by field."})


def _of_answer(answer: type) -> type[StrictSchema]:
    """Return the schema of a typed dict."""
    shown = {}
    for name, hint in get_type_hints(answer, include_extras=True).items():
        is_optional = get_origin(hint) is NotRequired
        shown[name] = _field(get_args(hint)[0] if is_optional else hint)
        shown[name].required = not is_optional
    return Schema.from_dict(shown, name=answer.__name__)


def _field(hint: Any) -> fields.Field[Any]:
    parts = get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,)
    kinds = [part for part in parts if part is not NoneType]
    options: dict[str, Any] = {"required": True, "allow_none": len(kinds) < len(parts)}
    kind = kinds[0] if len(kinds) == 1 else None
    if get_origin(kind) is Literal:
        return fields.String(validate=validate.OneOf(get_args(kind)), **options)
    if get_origin(kind) is list:
        return fields.List(fields.Dict(), **options)
    if kind in _SIMPLE:
        simple: fields.Field[Any] = _SIMPLE[kind](**options)
        return simple
    return fields.Dict(**options) if isinstance(kind, type) or get_origin(kind) is dict else fields.Raw(**options)


_SIMPLE: dict[Any, Any] = {str: fields.String, int: fields.Integer, float: fields.Float, bool: fields.Boolean}

Progress = _of_answer(answers.Progress)
Info = _of_answer(answers.Info)


class Data(Schema):
    """The result of a job."""

    data = fields.Raw(required=True, allow_none=True)
    status = _text()
    result = _whole()


class StoredDocument(Schema):
    """A job as it is stored, with its token."""

    cas = fields.String(required=True, metadata={"description": "The token, for If-Match of an edit."})
    document = _object()
    history = fields.Dict(
        required=True, metadata={"description": "By list: `first` and `total` numbers of entries, `next` start."}
    )


class Page(Schema):
    """A page of jobs. It may be empty and still not be the last one."""

    jobs = _list(fields.Nested(Progress))
    next = fields.String(required=True, allow_none=True, metadata={"description": "`cursor` of the next page."})


class Count(Schema):
    """A number of jobs."""

    number = _whole()
    is_capped = fields.Boolean(required=True, metadata={"description": "True if there may be more."})


class Submitted(Schema):
    """A job that was stored."""

    uuid = _text()
    status = _text()
    links = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class Status(Schema):
    """The status that a job has now."""

    uuid = _text()
    status = _text()


class Edited(Schema):
    """What an edit changed."""

    uuid = _text()
    written = _flag()
    changed = fields.Dict(required=True, metadata={"description": "By parameter: `old` and `new`."})


class Type(Schema):
    """A type of jobs that can be submitted."""

    jobType = _text()
    title = _text(True)
    summary = _text(True)
    schemaVersion = fields.Float(required=True)
    params = _object()


class Types(Schema):
    """All types."""

    types = _list(fields.Nested(Type))


class Queue(Schema):
    """A queue."""

    name = _text()
    waiting = _whole(True)
    scheduled = _whole(True)
    parked = _whole(True)
    workers = _whole()
    paused = _object(True)
    limits = _object(True)
    capped = _flag()


class Queues(Schema):
    """All known queues."""

    queues = _list(fields.Nested(Queue))


class Paused(Schema):
    """Whether a queue is paused now."""

    name = _text()
    paused = _flag()
    changed = _flag()


class QueueSettings(Schema):
    """The limits that an operator has set of a queue; null for what isn't set."""

    name = _text()
    maxRunning = _whole(True)
    rate = _text(True)
    maxWaiting = _whole(True)
    since = _text(True)
    by = _text(True)


class Limit(Schema):
    """A limit that holds now, how many jobs run under it and how many are parked at it."""

    limit = _text()
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    name = fields.String(required=True, metadata={"description": "The type or the queue."})
    attribute = _text(True)
    value = _text(True)
    most = _whole(True)
    rate = _text(True)
    is_stored = fields.Boolean(
        required=True, metadata={"description": "True if it is what the last run met, false if it is as declared."}
    )
    declared = fields.Dict(
        required=True, allow_none=True, metadata={"description": "`most` and `rate` by the code or settings here."}
    )
    running = _whole(True)
    parked = _whole(True)


class Limits(Schema):
    """The limits that hold now."""

    limits = _list(fields.Nested(Limit))
    is_capped = fields.Boolean(required=True, metadata={"description": "True if there may be more, or more parked."})


class Role(Schema):
    """The queues of a role, in order; null if workers have it and it isn't set."""

    name = _text()
    queues = fields.List(fields.String(), required=True, allow_none=True)
    since = _text(True)
    by = _text(True)
    workers = fields.Integer(required=True, metadata={"description": "How many have it and are not silent."})


class Roles(Schema):
    """All roles."""

    roles = _list(fields.Nested(Role))


class WorkerList(Schema):
    """Workers and their states."""

    workers = _list(fields.Dict())


class Anything(Schema):
    """An object."""


class Value(Schema):
    """Any JSON value."""


class Events(Schema):
    """A stream of server-sent events."""


class Probe(Schema):
    """The answer to a probe."""

    status = _text()


class Exposition(Schema):
    """Figures in Prometheus's text format."""


class RateList(Schema):
    """Rates of minutes or hours."""

    rates = _list(fields.Dict())


class Made(Schema):
    """A job that was submitted."""

    uuid = _text()


class Moved(Schema):
    """Whether a job was moved; false if it was there already."""

    uuid = _text()
    moved = _flag()


class Schedule(Schema):
    """A schedule; a damaged one has its name, state and problem alone."""

    name = _text()
    state = _text()
    problem = _text(True)


class Schedules(Schema):
    """All schedules."""

    schedules = _list(fields.Nested(Schedule))


class Group(Schema):
    """Failures of one kind at one place of a job's own code."""

    fingerprint = _text(True)
    job_type = fields.Raw(required=True)
    error = fields.Raw(required=True)
    example = _text()
    msg = fields.Raw(required=True)
    count = _whole()
    first = _text(True)
    last = _text(True)
    builds = _object()
    where = _text(True)


class Groups(Schema):
    """Groups of failures, the most frequent first."""

    groups = _list(fields.Nested(Group))
    is_capped = fields.Boolean(required=True, metadata={"description": "True if only the newest jobs were grouped."})


class StoredSchema(Schema):
    """A schema that a worker stored beside the jobs."""

    schemaVersion = fields.Float(required=True)
    hash = _text()
    builds = _list(fields.String())
    firstAt = _text()
    schema = _object()


class StoredSchemas(Schema):
    """The schemas of one type, the latest last."""

    jobType = _text()
    schemas = _list(fields.Nested(StoredSchema))


class StoredTypes(Schema):
    """Types with stored schemas."""

    types = _list(fields.String())


class Matching(Schema):
    """How many jobs a bulk action would go through; null if no index can say."""

    number = _whole(True)
