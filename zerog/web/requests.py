"""What requests may hold: queries and bodies, as marshmallow schemas."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from zerog.contracts.find import NEWEST, ORDERS
from zerog.records.fields import LARGEST_COUNT, is_timestamp
from zerog.records.job import FAILED, KEY_PREFIX, RUNNING, STATUSES, is_uuid
from zerog.schedules.definition import CATCH_UPS, ONE, OVERLAPS, SKIP
from zerog.schedules.timing import LONGEST, SHORTEST
from zerog.web.fields import Body, Flag, Moment, Number, Text, Uuid, Whole
from zerog.webhooks.targets import LONGEST_URL

LONGEST_PAGE = 200
"""Jobs on one page."""

LONGEST_HISTORY = 1_000
"""Entries of each list of a history on one page."""

LONGEST_WAIT = 10 * 365 * 86_400
"""Seconds of a delay or a limit."""


class Cursor(fields.String):
    """The start of a page: what the answer of the previous one named."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.Length(1, 500), **options)

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        text = super()._deserialize(value, *arguments, **more)
        try:
            place = json.loads(urlsafe_b64decode(text.encode("ascii")))
            time, key = place
            uuid = key.removeprefix(KEY_PREFIX)
            if is_timestamp(time) and time.isprintable() and uuid != key and is_uuid(uuid):
                return json.dumps(place)
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
        raise ValidationError("Not a cursor; expected what the previous page named as next.")


def cursor_of(after: str | None) -> str | None:
    """Return the start of a page as text for a query; None for None."""
    return None if after is None else urlsafe_b64encode(after.encode()).decode()


class Attribute(Text):
    """An attribute and the value that a job has, as ``NAME=VALUE``."""

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        text: str = super()._deserialize(value, *arguments, **more)
        if text.find("=") < 1:
            raise ValidationError("Expected NAME=VALUE.")
        return text


class Times(Schema):
    """Filters that are counted, too."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    type = Text(metadata={"description": "The job type."})
    queue = Text()
    since = Moment(metadata={"description": "Only jobs that were submitted then or later."})
    until = Moment(metadata={"description": "Only jobs that were submitted then or earlier."})
    attr = fields.List(
        Attribute(),
        validate=validate.Length(1, 8),
        metadata={"description": "An attribute as NAME=VALUE; may be repeated, then all have to fit."},
    )
    parked = Text(metadata={"description": "Only jobs that are parked at this limit, as it is shown, or at `any`."})


class Which(Times):
    """All filters."""

    error = Text(metadata={"description": "The type of the last error, or a part of its message."})
    code = Whole(
        validate=validate.Range(-(10**15) + 1, 10**15 - 1),
        metadata={"description": "The result code, or that of the last error."},
    )
    stalled = Flag(metadata={"description": "Only running jobs that are shown as stalled."})
    build = Text(metadata={"description": "The build of the code that recorded the last error."})
    schema_version = Number(
        validate=validate.Range(0, 10**6), metadata={"description": "The stored version of the class."}
    )


class Filters(Which):
    """Filters of a list."""

    order = fields.String(load_default=NEWEST, validate=validate.OneOf(ORDERS))
    limit = Whole(load_default=50, validate=validate.Range(1, LONGEST_PAGE))


class Listing(Filters):
    """The query of a list."""

    cursor = Cursor(metadata={"description": "`next` of the previous page, with the same filters."})


class Periods(Schema):
    """Which minutes or hours are wanted."""

    count = Whole(load_default=60, validate=validate.Range(1, 24 * 60))
    hourly = Flag(load_default=False)


class History(Schema):
    """Which entries of a history are wanted."""

    start = Whole(
        load_default=0,
        validate=validate.Range(0, 10**12),
        metadata={"description": "The number of the first entry, counted from the job's first one, 0."},
    )
    limit = Whole(load_default=100, validate=validate.Range(0, LONGEST_HISTORY))


class Dump(Schema):
    """The query of the earlier API's dump."""

    showLogs = Flag(load_default=False, metadata={"description": "With events, warnings and errors."})


class DryRun(Schema):
    """Whether an edit is only tried."""

    dry_run = Flag(load_default=False, metadata={"description": "Write nothing; answer what would change."})


class Submission(Body):
    """A new job. Every option is one of ``App.submit``."""

    type = Text(required=True, metadata={"description": "The job type."})
    params = fields.Dict(keys=fields.String(), load_default=dict, metadata={"description": "Its parameters."})
    uuid = Uuid(metadata={"description": "Chosen by the client, so that a second try can't make a second job."})
    delay = Number(validate=validate.Range(0, LONGEST_WAIT), metadata={"description": "Seconds."})
    at = Moment(metadata={"description": "Not before then."})
    expires = Number(
        validate=validate.Range(0, LONGEST_WAIT, min_inclusive=False), metadata={"description": "Seconds."}
    )
    priority = Whole(validate=validate.Range(-1_000, 1_000))
    queue = Text(200)
    headers = fields.Dict(keys=fields.String(), values=fields.String())
    parent = Uuid()
    max_errors = Whole(validate=validate.Range(1, 1_000_000))
    timeout = Number(validate=validate.Range(0, LONGEST_WAIT, min_inclusive=False))
    soft_timeout = Number(validate=validate.Range(0, LONGEST_WAIT, min_inclusive=False))
    unique = fields.List(
        Text(200),
        validate=validate.Length(1, 10),
        metadata={"description": "A key in place of its class's: 200 with the job that has it."},
    )
    schema_version = Number(
        validate=validate.Range(0, 10**6), metadata={"description": "The earlier version that params are made for."}
    )
    notify = fields.List(
        Text(LONGEST_URL), validate=validate.Length(max=10), metadata={"description": "URLs to notify of its ends."}
    )

    @validates_schema
    def _check_start(self, data: dict[str, Any], **_more: Any) -> None:
        if "delay" in data and "at" in data:
            raise ValidationError("Give either this or delay, not both.", "at")


class Params(Body):
    """The parameters of a job, as the whole body."""

    class Meta:
        unknown = INCLUDE


class Reason(Body):
    """Why something is done."""

    reason = Text(load_default="", metadata={"description": "For the job's events or the log."})


class Move(Reason):
    """Where a waiting job goes: to a queue, a priority, or both."""

    queue = Text(200)
    priority = Whole(validate=validate.Range(-1_000, 1_000))

    @validates_schema
    def _check_place(self, data: dict[str, Any], **_more: Any) -> None:
        if "queue" not in data and "priority" not in data:
            raise ValidationError("Give a queue, a priority, or both.", "queue")


class Removed(Schema):
    """Which schedules are listed."""

    removed = Flag(load_default=False, metadata={"description": "With those that were removed."})


class ScheduleDefinition(Body):
    """A schedule: its type, parameters, times and rules."""

    type = Text(required=True, metadata={"description": "The job type."})
    params = fields.Dict(keys=fields.String(), load_default=dict, metadata={"description": "Its parameters."})
    cron = Text(metadata={"description": "Minute, hour, day, month, day of the week: `0 3 * * *`."})
    every = Whole(validate=validate.Range(SHORTEST, LONGEST), metadata={"description": "Seconds, in place of cron."})
    timezone = Text(100, load_default="UTC", metadata={"description": "Of cron: `Europe/Berlin`."})
    overlap = fields.String(load_default=SKIP, validate=validate.OneOf(OVERLAPS))
    catch_up = fields.String(load_default=ONE, validate=validate.OneOf(CATCH_UPS))
    queue = Text(200)
    priority = Whole(validate=validate.Range(-1_000, 1_000))

    @validates_schema
    def _check_times(self, data: dict[str, Any], **_more: Any) -> None:
        if ("cron" in data) == ("every" in data):
            raise ValidationError("Give either cron or every.", "cron")


class FailureGroups(Times):
    """Which failures are grouped."""

    status = fields.String(load_default=FAILED, validate=validate.OneOf(STATUSES))
    build = Text(metadata={"description": "The build of the code that recorded the last error."})
    limit = Whole(load_default=20, validate=validate.Range(1, 100))


class Retry(Reason):
    """How a job runs again."""

    reset = Flag(load_default=True, metadata={"description": "With all counters at 0."})


class Wanted(Which):
    """Which jobs a bulk action is for."""

    @validates_schema
    def _check_any(self, data: dict[str, Any], **_more: Any) -> None:
        if not data:
            raise ValidationError("Give at least one filter.")
        if data.get("stalled") and data.get("status", RUNNING) != RUNNING:
            raise ValidationError("Only running jobs are stalled.", "stalled")


class Bulk(Retry):
    """What is done to all jobs that filters find."""

    verb = fields.String(
        required=True, validate=validate.OneOf(("cancel", "retry", "discard", "move", "pause", "resume"))
    )
    filters = fields.Nested(Wanted, required=True)
    limit = Whole(validate=validate.Range(1, 10**9), metadata={"description": "How many at most, the oldest first."})
    queue = Text(200, metadata={"description": "Where a move goes."})
    priority = Whole(validate=validate.Range(-1_000, 1_000), metadata={"description": "What a move gives."})

    @validates_schema
    def _check_place(self, data: dict[str, Any], **_more: Any) -> None:
        has_place = "queue" in data or "priority" in data
        if has_place != (data.get("verb") == "move"):
            raise ValidationError("Give a queue, a priority, or both, with move alone.", "verb")
        if data["filters"].get("stalled") and data.get("verb") not in ("cancel", "pause"):
            raise ValidationError("Stalled jobs run: they can be cancelled or paused alone.", "verb")


class Edit(Body):
    """New values of parameters."""

    params = fields.Dict(keys=fields.String(), required=True, validate=validate.Length(1))
    reason = Text(required=True, metadata={"description": "For the job's events."})
    retry = Flag(load_default=False, metadata={"description": "Let a job that has ended run again."})


class Workers(Body):
    """Which workers are meant: by name, by host, or all; one of these."""

    names = fields.List(Text(200), validate=validate.Length(1, 1_000))
    host = Text(200)
    all = Flag(validate=validate.Equal(True))


class Drain(Workers):
    """How workers are drained."""

    for_good = Flag(load_default=False, metadata={"description": "They end once their jobs have."})


class LimitsOf(Schema):
    """Which limits are shown."""

    type = Text(metadata={"description": "The job type; without it those of all types and queues."})


class RoleQueues(Body):
    """The queues of a role."""

    queues = fields.List(
        Text(200),
        required=True,
        validate=validate.Length(1, 1_000),
        metadata={"description": "In the order in which workers serve them."},
    )


def _limit(meaning: str) -> Whole:
    most = validate.Range(1, LARGEST_COUNT - 1)  # what browsers don't round
    return Whole(allow_none=True, validate=most, metadata={"description": f"{meaning}; or null."})


class QueueLimits(Body):
    """Limits of a queue: null removes one, what isn't given stays as it is."""

    max_running = _limit("Jobs of the queue that run at once")
    rate = Text(40, allow_none=True, metadata={"description": "Starts, such as `100/hour`; or null."})
    max_waiting = _limit("Jobs that wait; others are refused")

    @validates_schema
    def _check_any(self, data: dict[str, Any], **_more: Any) -> None:
        if not data:
            raise ValidationError("Give max_running, rate or max_waiting, or several of them.")
