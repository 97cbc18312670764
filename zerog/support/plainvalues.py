"""JSON values in place of what a finished run returned.

A run that has done its work doesn't fail for a number of numpy's or a set in what it returns. A value with an obvious
JSON form takes that; of any other the text is kept, and its path is returned, so that the loss can be recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from numbers import Integral
from pathlib import PurePath
from typing import Any
from uuid import UUID

from zerog.exceptions import InvalidValue
from zerog.support import jsonvalues

_AS_TEXT = (Decimal, Fraction, UUID, PurePath, IPv4Address, IPv6Address)


def plain(value: dict[Any, Any], path: str) -> tuple[dict[str, Any], list[str]]:
    """Return ``value`` as JSON values, and the paths of the parts of which only a text, or null for NaN, was kept.

    Numbers of other types become numbers, other mappings and data classes objects, other collections and arrays lists;
    dates, times, decimals, UUIDs, paths and enumerations their usual text or value, time spans seconds. Raises
    InvalidValue for more parts than a document can hold.
    """
    conversion = _Conversion()
    return conversion.mapping(value, path, 0), conversion.losses


class _Conversion:
    """One conversion: its parts so far, and its losses."""

    def __init__(self) -> None:
        self.parts = 0
        self.losses: list[str] = []

    def convert(self, value: Any, path: str, depth: int) -> Any:
        self.parts += 1
        if self.parts > jsonvalues.MAX_PARTS:
            raise InvalidValue(f"{path} is part {self.parts:,} of the value, which is more than can be stored")
        try:
            return self._converted(value, path, depth)
        except InvalidValue:
            raise
        except Exception:  # of a method of the value's own class
            return self._lost(value, path)

    def _converted(self, value: Any, path: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.convert(value.value, path, depth)
        if isinstance(value, str):
            return self._text(str(value), path)
        if callable(listed := getattr(value, "tolist", None)):  # arrays, and the numbers of numpy
            return self._inner(listed(), path, depth)
        if isinstance(value, (Integral, float)):
            return self._number(int(value) if isinstance(value, Integral) else float(value), path)
        if isinstance(value, _AS_TEXT):
            return self._text(str(value), path)
        if isinstance(value, (datetime, date, time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        return self._inner(value, path, depth)

    def _inner(self, value: Any, path: str, depth: int) -> Any:
        """Return an object or list; what ``tolist`` returned may be a plain number as well."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        convert: Callable[[Any, str, int], Any]
        if isinstance(value, Mapping):
            convert = self.mapping
        elif isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            convert = self._list
        elif isinstance(value, (type(None), bool, int, float, str)):
            return self.convert(value, path, depth)
        else:
            return self._lost(value, path)
        return convert(value, path, depth + 1) if depth < jsonvalues.MAX_DEPTH - 1 else self._lost(value, path)

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, part in value.items():
            name = self._key(key, path)
            if name in result:  # 1 and "1"
                self.losses.append(f"{path}.{name}")
            result[name] = self.convert(part, f"{path}.{name}", depth)
        return result

    def _list(self, value: Collection[Any], path: str, depth: int) -> list[Any]:
        return [self.convert(part, f"{path}[{index}]", depth) for index, part in enumerate(value)]

    def _key(self, key: Any, path: str) -> str:
        plain_key = self._converted(key, f"a key of {path}", jsonvalues.MAX_DEPTH)
        text = plain_key if isinstance(plain_key, str) else jsonvalues.encode(plain_key)
        return text[: jsonvalues.MAX_KEY]

    def _text(self, text: str, path: str) -> str:
        storable = text.encode("utf-8", "backslashreplace").decode()
        if storable != text:
            self.losses.append(path)
        return storable

    def _number(self, number: float, path: str) -> Any:
        try:
            jsonvalues.check(number)
        except InvalidValue:
            self.losses.append(path)
            return str(number) if isinstance(number, int) else None
        return number

    def _lost(self, value: Any, path: str) -> str:
        self.losses.append(path)
        return jsonvalues.storable_text(jsonvalues.short_repr(value))
