"""Values that a datastore must store unchanged, and values that it must refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

STORABLE: dict[str, Any] = {
    "text": "wörter, 日本語, 🦀",
    "empty text": "",
    "NUL": "a\x00b",
    "control characters": "\x01\x1f\x7f\u2028\u2029\ufeff\ufffe",
    "quotes": "\"\\'`${}; DROP TABLE x --",
    "text like a number": "007",
    "text like a literal": "null",
    "text like a time": "2026-01-01T00:00:00.000000+00:00",
    "one": 1,
    "minus one": -1,
    "largest integer": 2**63 - 1,
    "smallest integer": -(2**63),
    "beyond a double": 2**53 + 1,
    "float that is whole": 1.0,
    "tenth": 0.1,
    "minus zero": -0.0,
    "large float": 1.7976931348623157e308,
    "small float": 5e-324,
    "true": True,
    "false": False,
    "null": None,
    "empty list": [],
    "empty dict": {},
    "list": [1, "1", 1.0, True, None, [], {}],
    "nested": {"a": [{"b": {"c": [[], {}, None]}}], "": {"with.dot": 1, "$dollar": 2, "with space": 3}},
}

FIELDS = (
    "anything",
    "status",
    "output",
    "headers",
    "owner",
    "queueJobId",
    "completeness",
    "with.dot",
    "$set",
    "ü",
    "id",
)
"""Fields that adapters may store in different places, and names with a meaning on some server."""

REFUSED: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "bytes": b"x",
    "set": {1},
    "tuple": (1, 2),
    "object": object(),
    "integer key": {1: "x"},
    "null key": {None: "x"},
    "lone surrogate": "a\ud800",
    "lone surrogate in a key": {"\udfff": 1},
    "integer beyond 64 bits": 2**63,
    "negative integer beyond 64 bits": -(2**63) - 1,
    "huge integer": 10**5000,
    "huge integer key": {10**5000: 1},
}


def nested(levels: int) -> Any:
    """Return a value of so many lists within each other."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def same(left: Any, right: Any) -> bool:
    """Return True if two values are the same JSON: 1 is not 1.0, true is not 1, and -0.0 is not 0.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def cases(table: dict[str, Any]) -> pytest.MarkDecorator:
    """Return a parametrization over the values of a table, named by its keys."""
    return pytest.mark.parametrize("value", list(table.values()), ids=list(table))
