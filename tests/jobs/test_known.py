"""Values that are known to be read as they were written: they are, and other values have to be tried."""

from __future__ import annotations

import enum
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface
from typing import Any, ClassVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import INCLUDE, Schema, fields, post_load

from tests.jobs.generated_kinds import LEAVES, Colour
from tests.jobs.seeing import seeing
from zerog.jobs.codecs import codec_of
from zerog.jobs.declaration import declaration_of
from zerog.jobs.declared_field import is_same
from zerog.jobs.known import LATEST, LONGEST
from zerog.jobs.leaf_codec import Codec
from zerog.support import jsonvalues

PRECISIONS = ["weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds"]


class Colours(enum.Flag):
    RED = 1
    BLUE = 2


class Fickle(enum.Enum):
    """Its members aren't found by the value that they show."""

    ONE = 1
    TWO = 2

    @property
    def value(self) -> int:
        return 1


class Day(date):
    pass


class Span(fields.TimeDelta):
    """An own class that converts as its base does."""

    default_error_messages: ClassVar[dict[str, str]] = {"invalid": "Not a span."}

    def __init__(self, **options: Any) -> None:
        super().__init__(precision="milliseconds", validate=lambda value: value > timedelta(0), **options)


class Setting(fields.TimeDelta):
    """Another one, whose objects convert on their own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._deserialize = lambda *_, **__: timedelta(0)  # type: ignore[method-assign]


class Converting(Schema):
    number = fields.Integer()

    @post_load
    def convert(self, data: Any, **_: Any) -> Any:
        return data


class Nesting(Schema):
    a = fields.UUID(data_key="b")
    other = fields.Integer(load_default=1)

    class Meta:
        unknown = INCLUDE


def codec(field: fields.Field[Any]) -> Codec:
    """The codec of a field as a job class has it."""
    _, job_class = seeing(field)
    return codec_of(declaration_of(job_class).fields["given"].declared)


def is_read_back(codec: Codec, value: Any) -> bool:
    return is_same(value, codec.load(jsonvalues.decode(jsonvalues.encode(codec.dump(value)))))


def _name(part: Any) -> str:
    return type(part).__name__


offsets = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone), st.datetimes(), offsets | st.just(ZoneInfo("CET"))
)
numbers = st.decimals() | st.sampled_from([Decimal("1E+1001"), Decimal("-0.00"), Decimal(f"{10**30}.10")])

FIELDS: list[tuple[fields.Field[Any], st.SearchStrategy[Any]]] = [
    *((fields.TimeDelta(precision=unit), st.timedeltas()) for unit in PRECISIONS),
    *((fields.TimeDelta(precision=unit), st.timedeltas(-LONGEST, LONGEST)) for unit in PRECISIONS),
    (fields.DateTime(), moments),
    (fields.AwareDateTime(), moments),
    (fields.AwareDateTime(default_timezone=timezone(timedelta(hours=1)), format="timestamp"), moments),
    (fields.NaiveDateTime(), moments),
    (fields.NaiveDateTime(timezone=UTC, format="timestamp"), moments),
    (fields.DateTime(format="timestamp"), st.datetimes(datetime(1969, 1, 1), LATEST["timestamp"])),
    (fields.DateTime(format="timestamp_ms"), st.datetimes(datetime(1969, 1, 1), LATEST["timestamp_ms"])),
    (fields.DateTime(format="rfc"), moments),
    (fields.Date(), st.dates() | st.datetimes()),
    (fields.Date(format="%d.%m.%y"), st.dates()),
    (fields.Time(), st.times(timezones=offsets)),
    (fields.Time(format="%H:%M"), st.times()),
    (fields.Decimal(as_string=True, allow_nan=True), numbers),
    (fields.Decimal(as_string=True, places=2), numbers | st.decimals(places=2, allow_nan=False, allow_infinity=False)),
    (fields.UUID(), st.uuids()),
    (fields.Enum(Colour), st.sampled_from(Colour)),
    (fields.Enum(Colour, by_value=True), st.sampled_from(Colour)),
    (fields.Enum(Fickle, by_value=True), st.sampled_from(Fickle)),
    (fields.Enum(Colours, by_value=True), st.sampled_from([*Colours, Colours.RED | Colours.BLUE])),
    (fields.IP(), st.ip_addresses()),
    (fields.IPv6(exploded=True), st.ip_addresses(v=6)),
    (fields.Constant([7]), st.sampled_from([[7], [8]])),
    (fields.Dict(keys=fields.Date(), values=fields.TimeDelta()), st.dictionaries(st.dates(), st.timedeltas())),
    (fields.List(fields.List(fields.UUID())), st.lists(st.lists(st.uuids() | st.none()))),
    (
        fields.Nested(Nesting),
        st.fixed_dictionaries({"other": st.just(2)}, optional={"a": st.uuids(), "b": st.just("b"), "c": st.just([1])}),
    ),
    (fields.Nested(Nesting), st.fixed_dictionaries({}, optional={"a": st.uuids(), "other": st.just(2)})),
]


@pytest.mark.parametrize(("field", "values"), FIELDS, ids=_name)
def test_what_is_known_to_be_kept_is_kept(field: Any, values: st.SearchStrategy[Any]) -> None:
    """Of all values, those of other types and beyond the bounds included."""
    own = codec(field)

    @settings(max_examples=50, deadline=None)
    @given(value=values)
    def check(value: Any) -> None:
        if own.keeps(value):
            assert is_read_back(own, value)

    check()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_a_client_sends_is_known_or_tried(data: st.DataObject) -> None:
    """The values of all plain kinds of fields, as marshmallow makes them."""
    kind = data.draw(st.sampled_from(LEAVES))
    field = fields.List(kind.make(allow_none=True))
    own = codec(field)
    value = field.deserialize(data.draw(st.lists(st.none() | kind.sent, max_size=3)))
    if own.keeps(value):
        assert is_read_back(own, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.TimeDelta(), LONGEST),
        (fields.DateTime(), datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (fields.AwareDateTime(), datetime(2027, 1, 1, tzinfo=UTC)),
        (fields.DateTime(format="timestamp"), datetime(2027, 1, 1, microsecond=1)),
        (fields.Decimal(as_string=True), Decimal("1E+1000")),
        (fields.Decimal(as_string=True, places=2), Decimal("1.10")),
        (fields.UUID(), uuid4()),
        (Span(), timedelta(seconds=1)),
        (type("Name", (type("Text", (fields.String,), {}),), {"__doc__": "A name."})(), "Ada"),
        (fields.Enum(Colour, by_value=True), Colour.RED),
        (fields.IP(), ip_address("::1")),
        (fields.IPInterface(), ip_interface("10.0.0.1/8")),
        (fields.Email(), "a@example.com"),
        (fields.Constant("a"), "a"),
        (fields.List(fields.Time()), [time(12), None]),
        (fields.Dict(keys=fields.Date(), values=fields.List(fields.UUID())), {date(2027, 1, 1): [uuid4()]}),
        (fields.Nested(Nesting, many=True), [{"a": uuid4(), "other": 1, "c": {"d": [1.5]}}]),
    ],
    ids=_name,
)
def test_values_of_marshmallow_s_own_fields_are_known(field: Any, value: Any) -> None:
    own = codec(field)
    assert own.keeps(value)
    assert is_read_back(own, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.TimeDelta(), LONGEST + timedelta.resolution),
        (type("Own", (fields.TimeDelta,), {"_deserialize": fields.Field._deserialize})(), timedelta(1)),
        (type("Own", (fields.Integer,), {"num_type": float})(), 1),
        (Setting(), timedelta(1)),
        (type("Own", (fields.List,), {"_serialize": None, "_deserialize": None})(fields.Date()), [date(2027, 1, 1)]),
        (fields.DateTime(), datetime(2027, 1, 1, tzinfo=ZoneInfo("CET"))),
        (fields.DateTime(format="%d.%m.%Y"), datetime(2027, 1, 1)),
        (fields.DateTime(format="timestamp"), datetime(2027, 1, 1, tzinfo=UTC)),
        (fields.AwareDateTime(), datetime(2027, 1, 1)),
        (fields.NaiveDateTime(), datetime(2027, 1, 1, tzinfo=UTC)),
        (fields.Date(), Day(2027, 1, 1)),
        (fields.Date(), datetime(2027, 1, 1)),
        (fields.Decimal(as_string=True), Decimal("1E+1001")),
        (fields.Decimal(as_string=True, places=2), Decimal("1.1")),
        (fields.Enum(Fickle, by_value=True), Fickle.TWO),
        (fields.Enum(Colours, by_value=True), Colours.RED | Colours.BLUE),
        (fields.Constant([7]), [7]),
        (fields.List(fields.Date()), (date(2027, 1, 1),)),
        (fields.List(fields.Date()), [date(2027, 1, 1), "2027-01-01"]),
        (fields.Dict(), OrderedDict(a=1)),
        (fields.Dict(values=fields.UUID()), {"a": "b"}),
        (fields.Nested(Converting), {"number": 1}),
        (fields.List(fields.Nested({"deep": fields.Nested(Converting)})), [{"deep": {"number": 1}}]),
        (fields.Nested(Nesting), {"a": uuid4()}),
        (fields.Nested(Nesting), {"b": uuid4(), "other": 1}),
        (fields.Nested(Nesting), OrderedDict(other=1)),
    ],
    ids=_name,
)
def test_all_other_values_are_tried(field: Any, value: Any) -> None:
    """Own classes of fields or values, hooks, formats that lose something, keys or defaults that a read changes."""
    assert not codec(field).keeps(value)
