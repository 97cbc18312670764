"""Mask a job's document, so that it may leave the datastore: its form stays, what it is about doesn't."""

from __future__ import annotations

from typing import Any

from zerog.records.fields import FIELDS, Kind
from zerog.records.operations import Document
from zerog.schemas import samples
from zerog.schemas.describe import Described
from zerog.schemas.documents import merged
from zerog.schemas.rebuild import ACCEPT, Model, Opaque

_KEPT = frozenset(FIELDS[name].kind for name in FIELDS) - {Kind.TEXT, Kind.OBJECT, Kind.OWNER, Kind.JSON, Kind.HISTORY}
"""Kinds of engine fields that say nothing about a client."""

_NAMED = frozenset(("documentType", "uuid", "status", "parent", "follower", "run"))
"""Engine fields whose texts the engine makes."""

_IN_ENTRIES = frozenset(("timestamp", "at", "nonce", "type", "uuid", "build", "fingerprint", "completeness", "code"))
"""Fields of a history's entry, and of an owner, that the engine makes."""

_PLAIN = frozenset(
    (
        "Integer",
        "Float",
        "Decimal",
        "Boolean",
        "Date",
        "Time",
        "DateTime",
        "NaiveDateTime",
        "AwareDateTime",
        "TimeDelta",
    )
) | {"UUID", "Enum"}
"""Classes of fields whose values are kept: numbers, dates, choices."""


def masked(document: Document, described: Described) -> Document:
    """Return a document of which the client's texts are letters x and digits 0, and secrets are made up.

    Numbers, dates, truth values and choices stay, unless the field is a secret or the class doesn't declare it.
    ``described``: the type's description.
    """
    declared = merged(described)["properties"]
    return {name: _value(name, value, declared) for name, value in document.items()}


def _value(name: str, value: Any, declared: dict[str, Described]) -> Any:
    if name in declared:
        return mask(declared[name], value)
    if name not in FIELDS:
        return value if name.endswith("Dropped") and type(value) is int else texts(value, numbers=True)
    if FIELDS[name].kind in _KEPT or name in _NAMED:
        return value
    return texts(value, numbers=True) if name in ("output", "headers") else _entries(value)


def _entries(value: Any) -> Any:
    if isinstance(value, list):
        return [_entries(part) for part in value]
    if isinstance(value, dict):
        return {key: part if key in _IN_ENTRIES else _entries(part) for key, part in value.items()}
    return text(value) if isinstance(value, str) else value


def text(value: str) -> str:
    """Return a text of the same form: capitals as X, other letters as x, digits as 0, the rest as it is."""
    return "".join(
        "0" if letter.isdigit() else ("X" if letter.isupper() else "x") if letter.isalpha() else letter
        for letter in value
    )


def texts(value: Any, numbers: bool = False) -> Any:
    """Return a value of JSON with its texts masked, those of keys too unless they look like names of fields."""
    if isinstance(value, dict):
        return dict(zip(_keys(value), (texts(part, numbers) for part in value.values()), strict=True))
    if isinstance(value, list):
        return [texts(part, numbers) for part in value]
    if isinstance(value, str):
        return text(value)
    return 0 if numbers and type(value) in (int, float) else value


def _keys(value: dict[str, Any]) -> list[str]:
    return [key if key.isidentifier() else f"{text(key)}{number or ''}" for number, key in enumerate(value)]


def mask(described: Described, value: Any) -> Any:
    """Return a value of a field with its texts masked, as far as the field still takes it; otherwise a made-up one."""
    spec = described["x-field"]
    if value is None:
        return None
    if spec.get("secret"):
        return samples.first(described)
    if "opaque" in spec:
        return texts(value)
    if spec["class"] in _PLAIN or samples.finite(described) is not None:
        return value
    return _taken(described, _parts(described, value))


def _parts(described: Described, value: Any) -> Any:
    kind = described["x-field"]["class"]
    if kind == "List" and isinstance(value, list):
        return [mask(described["items"], part) for part in value]
    if kind == "Nested":
        if isinstance(value, list):
            return [_nested(described.get("items", {}), part) for part in value]
        return _nested(described, value)
    if kind in ("Dict", "Mapping") and isinstance(value, dict):
        inner = described.get("additionalProperties")
        parts = (mask(inner, part) if isinstance(inner, dict) else texts(part) for part in value.values())
        return dict(zip(_keys(value), parts, strict=True))
    return texts(value)


def _nested(described: Described, value: Any) -> Any:
    if not isinstance(value, dict):
        return texts(value)
    declared = described.get("properties", {})
    return {key: mask(declared[key], part) if key in declared else texts(part, True) for key, part in value.items()}


def _taken(described: Described, value: Any) -> Any:
    """Return a masked value if its field takes it, otherwise one that is made up."""
    try:
        return value if Model("x", described).problem(ACCEPT, value) is None else samples.first(described)
    except Opaque:
        return value
