"""Example values of a described field: the ones near its bounds and near those of the field that is to read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, product
from typing import Any

from zerog.schemas.describe import Described
from zerog.schemas.rebuild import Model, Opaque
from zerog.support.jsonvalues import copy

MOST = 400
"""Values tried of one field."""

_TEXTS = (
    "text",
    "",
    "Ä b",
    "12",
    "-1.5",
    "true",
    "A",
    "abc",
    "ABC",
    "12345",
    "a-1",
    "someone@example.com",
    "https://example.com/a",
    "2026-01-31",
    "2026-01-31T12:30:00",
    "2026-01-31T12:30:00+00:00",
    "12:30:00",
    "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f",
    "192.0.2.1",
    "2001:db8::1",
    "192.0.2.1/24",
    "2001:db8::1/64",
    "31.01.2026",
    "Sat, 31 Jan 2026 12:30:00 -0000",
)
_MOMENTS = (datetime(2026, 1, 31, 12, 30, tzinfo=UTC), datetime(2000, 2, 29, tzinfo=UTC))
_INTEGERS = (3, 0, 1, 2, -1, 12, 100, 10_000, 2026, 1_769_862_600, 1_000_000_000_000)
_NUMBERS = (1.5, 3, 0, 1, -1.5, 0.001, 0.5, 2.0, 1e6, 1_769_862_600.25)


def finite(described: Described) -> list[Any] | None:
    """Return every stored value that a field can have, null left out; None if they can't be counted."""
    spec = described["x-field"]
    if "opaque" in spec:
        return None
    for validator in spec.get("validators", []):
        for name, given in validator.items():
            if name == "OneOf":
                return list(given)
            if name == "Equal":
                return [given]
    if spec["class"] == "Enum":
        return list(spec["options"]["members"].values())
    if spec["class"] == "Boolean":
        return [True, False]
    return None


def values(source: Described, other: Described | None = None) -> Iterator[Any]:
    """Yield stored values of a field, null left out, likely ones first; ``other`` is the field that is to read them."""
    try:
        model = Model("x", source)
    except Opaque:
        return
    seen: list[Any] = []
    for value in islice(_raw(source, other), MOST):
        if value is not None and not any(type(value) is type(one) and value == one for one in seen):
            seen.append(value)
            if model.stores(value):
                yield value


def first(described: Described) -> Any:
    """Return a stored value of a field, null if none is found."""
    found = next(values(described), None)
    return {} if found is None and described["x-field"]["class"] == "Raw" else found


def minimal(described: Described) -> dict[str, Any]:
    """Return an object with a value for each required field, null where none is found."""
    return {key: first(described["properties"][key]) for key in described.get("required", [])}


def unknown(described: Described) -> list[str]:
    """Return the required fields of which no value is found."""
    parts = described["properties"]
    found = minimal(described).items()
    return [key for key, value in found if value is None and not parts[key]["x-field"].get("allow_none")]


def example(described: Described, without: str | None = None, **changed: Any) -> dict[str, Any] | None:
    """Return the smallest object, with fields changed or one left out; None if a value isn't found."""
    made = {**minimal(described), **changed}
    made.pop(without or "", None)
    if any(key in made and key not in changed for key in unknown(described)):
        return None
    return made


def full(described: Described) -> dict[str, Any]:
    """Return an object with a value for each field of which one is found."""
    found = {key: first(part) for key, part in described["properties"].items() if not part["x-field"].get("dump_only")}
    return {key: value for key, value in found.items() if value is not None or key in described.get("required", [])}


def objects(described: Described, other: Described | None = None) -> Iterator[dict[str, Any]]:
    """Yield objects of a schema: the smallest, the fullest, each with one field changed or left out."""
    small, large = minimal(described), full(described)
    yield large
    yield small
    others = {} if other is None else other.get("properties", {})
    for key, part in described["properties"].items():
        if key not in described.get("required", []):
            yield {name: value for name, value in large.items() if name != key}
        for value in _parts_of(part, others.get(key)):
            yield {**large, key: value}
            yield {**small, key: value}


def _parts_of(part: Described, other: Described | None) -> Iterator[Any]:
    if part["x-field"].get("allow_none"):
        yield None
    yield from islice(values(part, other), 40)


def _raw(source: Described, other: Described | None) -> Iterator[Any]:
    exact = finite(source)
    if exact is not None:
        yield from exact
        return
    kind, form = source["x-field"]["class"], source["x-field"].get("options", {}).get("format")
    if isinstance(form, str) and "%" in form:
        yield from (moment.strftime(form) for moment in _MOMENTS)
    near = list(_near(source)) + ([] if other is None else list(_near(other)))
    for bound in near:
        yield from _around(bound)
    if kind in ("List", "Dict", "Mapping", "Nested"):
        yield from _composed(source, other, near)
        return
    if "opaque" not in source["x-field"]:
        for bound in near:
            if isinstance(bound, _Size):
                yield from (letter * size for letter, size in product("a1", bound.near()))
        yield from _INTEGERS
        yield from _NUMBERS
        yield from _TEXTS
        yield from (str(number) for number in _NUMBERS)
        yield from ([], {}, [1, "a"], {"a": 1}, True)


def _composed(source: Described, other: Described | None, near: list[Any]) -> Iterator[Any]:
    kind = source["x-field"]["class"]
    many = kind == "List" or source["x-field"].get("options", {}).get("many")
    sizes = [size for bound in near if isinstance(bound, _Size) for size in bound.near()]
    if kind == "Nested" and not many:
        yield from objects(source, other if other and "properties" in other else None)
        return
    if many:
        inner, target = source["items"], (other or {}).get("items", {})
        target = target if ("x-field" if kind == "List" else "properties") in target else None
        parts = list(islice(values(inner, target) if kind == "List" else objects(inner, target), 60))
        yield [copy(part) for part in parts[:1]]
        yield []
        yield from ([part] for part in parts)
        yield from ([copy(parts[n % len(parts)]) for n in range(size)] for size in sizes if parts)
        return
    inner = source.get("additionalProperties")
    inner = inner if isinstance(inner, dict) else {"x-field": {"class": "Raw"}}
    of_other = (other or {}).get("additionalProperties")
    keys = list(islice(values(source["propertyNames"]) if "propertyNames" in source else iter(("a", "b")), 5)) or ["a"]
    parts = list(islice(values(inner, of_other if isinstance(of_other, dict) else None), 60))
    yield from ({keys[0]: part} for part in parts)
    yield {}
    yield from ({key: parts[0]} for key in keys if parts)
    yield from ({f"{keys[0]}{n}": parts[0] for n in range(size)} for size in sizes if parts)


class _Size(int):
    """A bound of a length."""

    def near(self) -> Iterator[int]:
        """Yield the lengths around it."""
        yield from (size for size in (int(self), self + 1, self - 1) if 0 <= size <= 10_000)


def _near(described: Described) -> Iterator[Any]:
    """Yield the bounds and choices in a field's validators."""
    yield from finite(described) or ()
    for validator in described["x-field"].get("validators", []):
        for name, given in validator.items():
            if name == "Length":
                yield from map(_Size, given.values())
            elif name == "Range":
                yield from (given[end] for end in ("min", "max") if end in given)
            elif name in ("NoneOf", "OneOf", "ContainsOnly", "ContainsNoneOf") and isinstance(given, list):
                yield from given


def _around(bound: Any) -> Iterator[Any]:
    if isinstance(bound, _Size):
        return
    yield bound
    if isinstance(bound, (int, float)) and not isinstance(bound, bool):
        yield from (bound - 1, bound + 1, bound - 0.5, bound + 0.5)
    elif isinstance(bound, str):
        yield bound + "x"
        try:
            number = float(bound)
        except ValueError:
            return
        yield from (str(number - 1), str(number + 1), str(int(number) - 1), str(int(number) + 1))
