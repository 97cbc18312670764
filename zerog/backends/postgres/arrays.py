"""Send lists as parameters of a statement, each for a cast to an array's type that the statement has.

psycopg's own dumpers look at every element for the type of the array, which took a third of the client's time for a
submit. Every statement of this backend names the types, so the server needs none from the client.
"""

from __future__ import annotations

import struct
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

_TEXT = 25
"""The number of the type text."""

_EMPTY = struct.pack("!iii", 0, 0, _TEXT)
_FIRST = struct.Struct("!iiiii")
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


class LiteralArray(Dumper):
    """A list of texts, numbers, truth values and None, as an array's literal."""

    format = Format.TEXT
    oid = 0

    def dump(self, obj: list[Any]) -> bytes:
        """Return the literal. Raises UnicodeEncodeError for a text that is no UTF-8."""
        return f"{{{','.join(map(_literal, obj))}}}".encode()


class Texts(list[str | None]):
    """A list that is sent in binary."""


class TextArray(Dumper):
    """A list of texts and None in binary, which spares escaping the JSON in them."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: list[str | None]) -> bytes:
        """Return the array. Raises UnicodeEncodeError for a text that is no UTF-8."""
        if not obj:
            return _EMPTY
        first = _FIRST.pack(1, None in obj, _TEXT, len(obj), 1)
        if _is_one_text(obj):
            return first + _element(obj[0]) * len(obj)
        return first + b"".join(map(_element, obj))


def _is_one_text(values: list[str | None]) -> bool:
    """True for a list of one text over and over, as most columns of jobs that end together are."""
    return len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values)


def _element(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) is str:
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return repr(value)
