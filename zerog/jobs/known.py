"""Values that are read from the document as they were written, by the definition of marshmallow's own fields.

This holds for exact types of values, and for marshmallow's classes of fields: a subclass may convert otherwise, unless
all that it defines is how it is made, its texts and its validators.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, getcontext
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, NamedTuple
from uuid import UUID

from marshmallow import fields

from zerog.jobs.bounds import MAX_EXPONENT, has_small_exponent


class WholeNumber(fields.Integer):
    """An integer, or a text of one; a fraction is refused rather than cut off."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, (float, Decimal)) and value % 1:
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


PLAIN: dict[type, frozenset[type]] = {
    **dict.fromkeys([fields.String, fields.Email, fields.URL], frozenset([str])),
    **dict.fromkeys([fields.Integer, WholeNumber], frozenset([int])),
    fields.Float: frozenset([float]),
    fields.Boolean: frozenset([bool]),
    fields.Raw: frozenset([str, int, float, bool, list, dict]),
}
"""Field types that are stored as they are, with the exact types for which that holds."""

_HARMLESS = frozenset(
    [
        *("__module__", "__qualname__", "__doc__", "__init__", "__annotations__", "default_error_messages"),
        "_validate",
        *("__parameters__", "__orig_bases__", "__firstlineno__", "__static_attributes__", "__slotnames__"),
    ]
)
"""What a subclass may define and still convert as its base does."""

_CONVERSIONS = frozenset(["_serialize", "_deserialize", "serialize", "deserialize", "_validated", "_to_string"])
"""What an object may not have of its own, put there by its ``__init__``."""

LONGEST = timedelta(microseconds=2**51)
"""71 years: up to them a float holds a time in any unit closely enough to be read as the same microsecond."""

LATEST = {"timestamp": datetime(1970, 1, 1) + timedelta(seconds=2**33), "timestamp_ms": datetime(2038, 1, 1)}
"""The moments up to which the same holds of the seconds or milliseconds since 1970."""

_EPOCH = datetime(1970, 1, 1)


class Known(NamedTuple):
    """The values of a field that are read as they were written."""

    types: frozenset[type] = frozenset()
    """Their exact types."""
    holds: Callable[[Any], bool] | None = None
    """Whether it holds for a value of these types; None if for each."""

    def has(self, value: Any) -> bool:
        """Return True if a value is one of them."""
        return type(value) in self.types and (self.holds is None or self.holds(value))

    def has_all(self, values: Collection[Any]) -> bool:
        """Return True if all values are among them."""
        return self.types.issuperset(map(type, values)) and (self.holds is None or all(map(self.holds, values)))


def known_of(field: fields.Field[Any]) -> Known:
    """Return the values of a field without parts that are read as they were written."""
    kind = _converting(field)
    make = _KNOWN.get(kind)
    return make(field) if make is not None else Known(plain_of(field))


def plain_of(field: fields.Field[Any]) -> frozenset[type]:
    """Return the exact types of the values of a field that are stored as they are."""
    return PLAIN.get(_converting(field), frozenset())


def _converting(field: fields.Field[Any]) -> type:
    """Return the class that defines what a field converts: its own, or the base of one that changes nothing of that."""
    for kind in type(field).__mro__ if _CONVERSIONS.isdisjoint(vars(field)) else ():
        if kind in _KNOWN or kind in PLAIN:
            return kind
        if not _HARMLESS.issuperset(vars(kind)):
            break
    return type(field)


def _addresses(*types: type) -> Callable[[Any], Known]:
    return lambda field: Known() if field.exploded else Known(frozenset(types))


def _decimals(field: fields.Decimal) -> Known:
    places = field.places
    if places is None:
        return Known(frozenset([Decimal]), _is_exact)
    return Known(frozenset([Decimal]), lambda value: _is_rounded(value, places)) if _is_exact(places) else Known()


def _is_rounded(value: Decimal, places: Decimal) -> bool:
    """Return True if rounding a number to ``places`` leaves it as it is, and raises nothing."""
    digits = value.adjusted() - places.adjusted() + 1
    return value.same_quantum(places) and digits <= min(getcontext().prec, MAX_EXPONENT)


def _is_exact(value: Decimal) -> bool:
    return value.is_finite() and has_small_exponent(value)


def _is_short(value: timedelta) -> bool:
    return -LONGEST <= value <= LONGEST


def _constant(field: fields.Constant[Any]) -> Known:
    return Known(frozenset([type(field.constant)]), lambda value: value is field.constant)


def _members(field: fields.Enum[Any]) -> Known:
    """Return the members of an enum if each is read as it is written: the class is the user's own."""
    if issubclass(field.enum, enum.Flag):  # combinations are no members
        return Known()
    try:
        are_kept = all(field._deserialize(field._serialize(one, None, None), None, None) is one for one in field.enum)
    except Exception:  # the class may define anything
        return Known()
    return Known(frozenset([field.enum])) if are_kept else Known()


def _days(field: fields.Date) -> Known:
    return Known(frozenset([date])) if field.format in ISO else Known()


def _times(field: fields.Time) -> Known:
    return Known(frozenset([time]), _has_fixed_offset) if field.format in ISO else Known()


def _moments(field: fields.DateTime) -> Known:
    is_aware = isinstance(field, fields.AwareDateTime)
    if field.format in ISO:
        holds = _is_aware if is_aware else _is_naive if isinstance(field, fields.NaiveDateTime) else _has_fixed_offset
        return Known(frozenset([datetime]), holds)
    latest = LATEST.get(field.format or "")
    if latest is None or is_aware:
        return Known()
    return Known(frozenset([datetime]), lambda value: value.tzinfo is None and _EPOCH <= value <= latest)


def _is_naive(value: datetime) -> bool:
    return value.tzinfo is None


def _is_aware(value: datetime) -> bool:
    return type(value.tzinfo) is timezone


def _has_fixed_offset(value: datetime | time) -> bool:
    return value.tzinfo is None or type(value.tzinfo) is timezone


ISO = (None, "iso", "iso8601")
"""The formats that hold every moment."""

_KNOWN: dict[type, Callable[[Any], Known]] = {
    fields.UUID: lambda field: Known(frozenset([UUID])),
    fields.Decimal: _decimals,
    fields.TimeDelta: lambda field: Known(frozenset([timedelta]), _is_short),
    fields.Constant: _constant,
    fields.Enum: _members,
    fields.Date: _days,
    fields.Time: _times,
    fields.DateTime: _moments,
    fields.AwareDateTime: _moments,
    fields.NaiveDateTime: _moments,
    fields.IP: _addresses(IPv4Address, IPv6Address),
    fields.IPv4: _addresses(IPv4Address),
    fields.IPv6: _addresses(IPv6Address),
    fields.IPInterface: _addresses(IPv4Interface, IPv6Interface),
    fields.IPv4Interface: _addresses(IPv4Interface),
    fields.IPv6Interface: _addresses(IPv6Interface),
}
