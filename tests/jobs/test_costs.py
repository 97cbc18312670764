"""What a client sends costs what its size implies: time, memory, and messages instead of exceptions."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import zerog
from tests.jobs.generated_kinds import Colour
from tests.jobs.seeing import seeing
from tests.marks import wide
from zerog.exceptions import InvalidValue, UnknownJobType
from zerog.support import jsonvalues

MOST_SECONDS, MOST_BYTES = 0.25, 20 * 2**20
"""What 100 kB may cost: 50 ms and 20 MB; in time five times as much, because test machines are busy."""


class Take(zerog.BaseJob):
    JOB_TYPE = "take"

    class Params(Schema):
        data = fields.Raw(allow_none=True)
        table = fields.Dict()
        amount = fields.Decimal(as_string=True)
        amounts = fields.List(fields.Decimal(as_string=True))
        places = fields.Decimal(as_string=True, places=2)
        number = fields.Integer()
        share = fields.Float()
        span = fields.TimeDelta()
        moment = fields.DateTime(format="timestamp")
        naive = fields.NaiveDateTime(timezone=None)

    def run(self) -> int:
        return 200


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")
    made.register(Take)
    return made


def _deep(size: int) -> Any:
    row: Any = 0
    for _ in range(60):
        row = [row]
    return [json.loads(json.dumps(row)) for _ in range(size // 122)]


SHAPES: dict[str, Callable[[int], Any]] = {
    "numbers": lambda size: [0] * (size // 2),
    "mixed": lambda size: [0, "a", None, 1.5] * (size // 14),
    "empty lists": lambda size: [[] for _ in range(size // 3)],
    "empty objects": lambda size: [{} for _ in range(size // 3)],
    "text": lambda size: "x" * size,
    "a long key": lambda size: {"k" * (size // 2): [0] * (size // 4)},
    "long keys within": lambda size: {"k" * (size // 4): {"l" * (size // 4): [{"m": 0}] * (size // 16)}},
    "many keys": lambda size: {f"{number:06}": 0 for number in range(size // 11)},
    "deep": _deep,
    "refused at its end": lambda size: {"k" * (size // 2): [*[0] * (size // 4), 2**64]},
    "refused deep": lambda size: [*[[0]] * (size // 4), ["\ud800"]],
}


def seconds_of(function: Callable[[], object]) -> float:
    """The least processor time of three calls; of fewer, if one took as little as it may."""
    least = math.inf
    for _ in range(3):
        began = time.process_time()
        function()
        least = min(least, time.process_time() - began)
        if least < MOST_SECONDS / 5:
            break
    return least


def peak_of(function: Callable[[], object]) -> int:
    """The bytes that a call has allocated at its peak."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", list(SHAPES))
def test_what_a_client_sends_costs_its_size(app: zerog.App, shape: str) -> None:
    """``values.check`` and ``submit`` of 100 kB of each shape; what is refused costs no more."""
    body = SHAPES[shape](100_000)

    refused: list[str] = []

    def check() -> None:
        try:
            jsonvalues.check({"data": body}, "params")
        except InvalidValue as error:
            refused.append(str(error))

    def submit() -> None:
        try:
            app.submit("take", {"data": body})
        except InvalidValue as error:
            refused.append(str(error))

    for function in (check, submit):
        assert seconds_of(function) < MOST_SECONDS
        assert peak_of(function) < MOST_BYTES
        assert max(map(len, refused), default=0) < 500


TYPED: dict[str, tuple[fields.Field[Any], Callable[[int], Any]]] = {
    "numbers": (fields.List(fields.Integer()), lambda size: [0] * (size // 2)),
    "decimals": (fields.List(fields.Decimal(as_string=True)), lambda size: ["1"] * (size // 4)),
    "spans": (fields.List(fields.TimeDelta()), lambda size: [1] * (size // 2)),
    "lists": (fields.List(fields.List(fields.Integer())), lambda size: [[] for _ in range(size // 3)]),
    "listed objects": (fields.List(fields.Nested({"a": fields.Integer()})), lambda size: [{"a": 1}] * (size // 8)),
    "defaults": (
        fields.Nested({f"field{number}": fields.Integer(load_default=0) for number in range(10)}, many=True),
        lambda size: [{} for _ in range(size // 3)],
    ),
    "objects": (fields.Nested({"a": fields.Integer()}, many=True), lambda size: [{} for _ in range(size // 3)]),
    "wrong numbers": (fields.List(fields.Integer()), lambda size: ["a"] * (size // 4)),
    "unknown keys": (fields.Nested({}, many=True), lambda size: [{"b": 0}] * (size // 8)),
}


@pytest.mark.parametrize("shape", ["wrong numbers", "lists", *wide(*sorted(TYPED.keys() - {"wrong numbers", "lists"}))])
def test_values_of_a_schema_take_little_memory(shape: str) -> None:
    """Submit of 100 kB that a schema converts piece by piece, or refuses with a message for each piece.

    Of any number of items, but where each piece gets many defaults: there MAX_ITEMS is what bounds the memory.
    """
    field, make = TYPED[shape]
    app, job_class = seeing(field)
    if shape != "defaults":
        job_class.MAX_ITEMS = None
    body = make(100_000)

    def submit() -> None:
        with suppress(ValidationError):
            app.submit("seeing", {"given": body})

    assert peak_of(submit) < MOST_BYTES


@pytest.mark.parametrize("shape", list(TYPED))
def test_values_of_a_schema_take_little_time(shape: str) -> None:
    """Submit of 100 kB to a class that takes the items that classes take by default."""
    field, make = TYPED[shape]
    app, _ = seeing(field)
    body = make(100_000)

    def submit() -> None:
        with suppress(ValidationError):
            app.submit("seeing", {"given": body})

    assert seconds_of(submit) < MOST_SECONDS


class Counting(fields.Integer):
    """Counts the conversions of all its values."""

    calls = 0

    def _serialize(self, *args: Any, **kwargs: Any) -> Any:
        Counting.calls += 1
        return super()._serialize(*args, **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        Counting.calls += 1
        return super()._deserialize(*args, **kwargs)


@pytest.mark.parametrize("depth", [0, 3, 12])
@pytest.mark.parametrize("size", [100, 1000])
def test_each_value_is_converted_five_times_at_most(depth: int, size: int) -> None:
    """By submit: once from the client, to the document and back to see that it is kept, to be stored, for the job."""
    field: fields.Field[Any] = fields.List(Counting())
    for _ in range(depth):
        field = fields.Nested({"inner": field})
    app, _ = seeing(field)
    body: Any = ["1"] * size
    for _ in range(depth):
        body = {"inner": body}
    Counting.calls = 0
    app.submit("seeing", {"given": body})
    assert 0 < Counting.calls <= 5 * size


ONCE: dict[str, tuple[fields.Field[Any], Any]] = {
    "spans": (fields.List(fields.TimeDelta()), [1.5]),
    "moments": (fields.List(fields.List(fields.DateTime())), [["2027-01-01T00:00:00+00:00"]]),
    "amounts": (fields.List(fields.Decimal(as_string=True, places=2)), ["1.1"]),
    "objects": (fields.Nested({"id": fields.UUID()}, many=True), [{"id": "0190b5a0-0000-7000-8000-000000000000"}]),
    "tables": (fields.List(fields.Dict(keys=fields.Date(), values=fields.Enum(Colour))), [{"2027-01-01": "RED"}]),
}


@pytest.mark.parametrize("shape", list(ONCE))
def test_values_of_marshmallow_s_own_fields_are_converted_once(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By submit: from the client by marshmallow, and to the document; none is read back to see that it is kept."""
    calls: Counter[str] = Counter()
    for kind in (fields.TimeDelta, fields.DateTime, fields.Decimal, fields.UUID, fields.Date, fields.Enum):
        for name in ("_serialize", "_deserialize"):
            monkeypatch.setattr(kind, name, _counted(calls, name, getattr(kind, name)))
    field, value = ONCE[shape]
    app, _ = seeing(field)
    calls.clear()
    app.submit("seeing", {"given": value * 100})
    kinds = 2 if shape == "tables" else 1
    assert calls == {"_serialize": 100 * kinds, "_deserialize": 100 * kinds}


def _counted(calls: Counter[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return method(self, *args, **kwargs)

    return counted


def test_the_path_of_a_refused_value_is_short() -> None:
    """Beginning and end of a long path; long keys are cut."""
    value: Any = float("nan")
    for _ in range(60):
        value = {"k" * 1000: [value]}
        if len(str(value)) > 30_000:
            break
    with pytest.raises(InvalidValue, match=r"^params\.kkk.*….*\[0\] is nan") as caught:
        jsonvalues.check(value, "params")
    assert len(str(caught.value)) < 300


def test_a_value_that_holds_one_part_many_times_is_refused_at_once() -> None:
    """Lists of lists that a program shares would be written out in full."""
    shared: Any = [0] * 1000
    for _ in range(50):
        shared = [shared, shared]
    began = time.process_time()
    with pytest.raises(InvalidValue, match="more than can be stored"):
        jsonvalues.check(shared, "data")
    assert time.process_time() - began < 30


def test_keys_are_bounded(app: zerog.App) -> None:
    """A key of MAX_KEY characters is stored, a longer one is refused."""
    app.submit("take", {"data": {"k" * jsonvalues.MAX_KEY: 1}})
    with pytest.raises(InvalidValue, match="data has a key of 65,537 characters; at most 65,536"):
        app.submit("take", {"data": {"k" * (jsonvalues.MAX_KEY + 1): 1}})


@pytest.mark.parametrize("number", ["1e999999999", "-1e-999999999", "1e100000000", "0e999999999", "1e1001"])
def test_exponents_are_bounded(app: zerog.App, number: str) -> None:
    """A Decimal of eleven characters is not written out to gigabytes; it is a message."""
    for params in ({"amount": number}, {"amounts": ["1", number]}):
        began = time.process_time()
        with pytest.raises(ValidationError) as caught:
            app.submit("take", params)
        assert time.process_time() - began < 1
        assert "Out of range" in str(caught.value.messages[next(iter(params))])
    job = app.submit("take", {"amount": "1e100"})
    with pytest.raises(InvalidValue, match=r"amount.*exponent beyond 1,000"):
        job.update_attrs(amount=Decimal(number))
    assert app.get_job(job.uuid).amount == Decimal("1e100")


@pytest.mark.parametrize(
    "params",
    [
        {"span": 1e300},
        {"span": 10**400},
        {"span": -1e15},
        {"moment": 1e300},
        {"moment": 10**400},
        {"moment": 1e18},
        {"share": 10**400},
        {"share": "1e999"},
        {"number": 1e400},
        {"number": "9" * 10_000},
        {"places": "1e999999999"},
        {"naive": "2027-01-01T00:00:00+14:00"},
    ],
    ids=lambda params: str(params)[:30],
)
def test_what_is_out_of_range_is_a_message(app: zerog.App, params: dict[str, Any]) -> None:
    """No submit raises OverflowError or its like; other fields' messages are there, too."""
    with pytest.raises(ValidationError) as caught:
        app.submit("take", params)
    assert list(caught.value.messages) == list(params)


def test_a_value_that_is_out_of_range_in_utc_is_refused(app: zerog.App) -> None:
    """The time ``at`` which a job starts, too."""
    for at in (datetime.max, datetime.fromisoformat("9999-12-31T23:59:59-10:00")):
        with pytest.raises(InvalidValue, match="othing was stored"):
            app.submit("take", at=at)


def test_deep_values_of_a_schema_of_itself_are_a_message() -> None:
    """A nested schema may nest itself; what a client sends may be nested deeper than Python's stack."""

    class Tree(Schema):
        left = fields.Nested(lambda: Tree(), allow_none=True)

    class Grow(Take):
        JOB_TYPE = "grow"

        class Params(Schema):
            tree = fields.Nested(Tree)

    app = zerog.App("memory://")
    app.register(Grow)
    tree: Any = None
    for _ in range(5_000):
        tree = {"left": tree}
    with pytest.raises(ValidationError) as caught:
        app.submit("grow", {"tree": tree})
    assert caught.value.messages == {"tree": ["Out of range: too large, too small or too deep to be stored."]}


def test_a_long_name_costs_no_search(app: zerog.App) -> None:
    """Near matches are searched among names that could be one."""
    with pytest.raises(UnknownJobType, match="did you mean 'take'"):
        app.submit("tak")
    messages: list[str] = []

    def submit() -> None:
        try:
            app.submit("take" * 250_000)
        except UnknownJobType as error:
            messages.append(str(error))

    assert seconds_of(submit) < 0.1
    assert peak_of(submit) < MOST_BYTES
    assert len(messages) >= 2
    assert max(map(len, messages)) < 300


def test_a_timedelta_of_a_job_itself_is_stored_as_it_is(app: zerog.App) -> None:
    """The largest that there is can be stored, and read again."""
    job = app.submit("take", {"span": 1})
    job.update_attrs(span=timedelta(days=999_999_999))
    assert app.get_job(job.uuid).span == timedelta(days=999_999_999)
