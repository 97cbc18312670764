"""The values that a document may hold: JSON, exactly.

Python's encoder silently turns tuples into lists, integer keys into text and NaN into a text that no JSON reader takes.
A value that would not be read as it was written is refused here, at the write, with the path of the offending part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from zerog.exceptions import InvalidValue

MAX_DEPTH = 64
"""Levels of nesting that a value may have."""

JOB_BYTES = 4 * 1024 * 1024
"""Size to which jobs and callers may fill a document, in bytes of UTF-8."""

MAX_BYTES = JOB_BYTES + 512 * 1024
"""Size of one encoded value or document: the part beyond JOB_BYTES is for the engine's own writes."""

HISTORY_BYTES = 16 * 1024 * 1024
"""Bytes of each bounded list of a history that is stored separately: beyond them the oldest entries are dropped."""

MAX_TEXT = 64 * 1024
"""Characters kept of one message or traceback in a document's history."""

MAX_KEY = 64 * 1024
"""Characters of one key of an object."""

MAX_PARTS = MAX_BYTES
"""Parts of one value: each takes a byte of JSON at least, so more of them can't be stored."""

SHOWN = 80
"""Characters of a value, or of each end of a path, in a message."""

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)


def check(value: Any, path: str = "value", depth: int = 0) -> None:
    """Refuse a value that JSON doesn't return unchanged. Raises InvalidValue, naming the path within ``value``.

    ``depth``: the level of nesting of the value in the stored document. Costs time and memory in proportion to the
    value's size: paths are made for the message alone.
    """
    kind = type(value)
    if not (_is_sound(value, depth) if kind in _CONTAINERS else _is_scalar(value, kind)):
        _complain(value, path, depth)


def _is_sound(value: Any, depth: int) -> bool:
    todo: list[tuple[Any, int]] = [([value], depth)]
    left = MAX_PARTS
    while todo:
        parts, depth = todo.pop()
        if type(parts) is dict:
            if not all(map(_is_key, parts)):
                return False
            parts = parts.values()
        left -= len(parts)
        if left < 0:
            return False
        if len(parts) > FEW and _are_alike(parts):
            continue
        for part in parts:
            kind = type(part)
            if kind is list or kind is dict:
                if depth >= MAX_DEPTH:
                    return False
                if part:
                    todo.append((part, depth + 1))
            elif not _is_scalar(part, kind):
                return False
    return True


FEW = 8
"""Parts that are checked one by one rather than all together."""


def _are_alike(parts: Any) -> bool:
    """True if all of many parts are scalars of one type that can be stored, without a step for each."""
    kinds = set(map(type, parts))
    if len(kinds) > 1:
        return False
    kind = kinds.pop()
    if kind is int:
        return min(parts) >= _SMALLEST and max(parts) <= _LARGEST  # type: ignore[no-any-return]
    if kind is str:
        return all(map(str.isascii, parts))
    if kind is float:
        return all(map(math.isfinite, parts))
    return kind is bool or kind is type(None)


def _is_scalar(value: Any, kind: type) -> bool:
    if kind is int:
        return _SMALLEST <= value <= _LARGEST  # type: ignore[no-any-return]
    if kind is str:
        return value.isascii() or _is_utf8(value)
    if kind is float:
        return value - value == 0.0  # type: ignore[no-any-return]  # neither infinite nor NaN
    return value is None or kind is bool


def _is_key(key: Any) -> bool:
    return type(key) is str and len(key) <= MAX_KEY and (key.isascii() or _is_utf8(key))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


Place = tuple[Any, Any]
"""A part's place: that of its container, or None, and its key or index there."""


def _complain(value: Any, path: str, depth: int) -> NoReturn:
    """Find the part that ``_is_sound`` refused, and raise an error with its path."""
    if type(value) not in _CONTAINERS:
        _refuse(value, path)
    todo: list[tuple[Any, Place, int]] = [(value, (None, path), depth)]
    left = MAX_PARTS
    while todo:
        item, place, depth = todo.pop()
        if depth >= MAX_DEPTH:
            raise InvalidValue(f"{_where(place)} is nested more than {MAX_DEPTH} levels deep")
        left -= len(item)
        if left < 0:
            raise InvalidValue(f"{path} has more than {MAX_PARTS:,} parts, which is more than can be stored")
        for name, part in _named(item, place):
            if type(part) in _CONTAINERS:
                todo.append((part, (place, name), depth + 1))
            elif not _is_scalar(part, type(part)):
                _refuse(part, _where((place, name)))
    raise AssertionError(f"{path} was changed while it was checked")


def _named(item: Any, place: Place) -> Iterator[tuple[Any, Any]]:
    if type(item) is list:
        yield from enumerate(item)
        return
    for key, part in item.items():
        if not _is_key(key):
            _refuse_key(key, _where(place))
        yield key, part


def _where(place: Place) -> str:
    """Return the path of a part for a message; of a long one the beginning and the end."""
    names: list[str] = []
    outer, name = place
    while outer is not None:
        names.append(f".{name[:SHOWN]}" if type(name) is str else f"[{name}]")
        outer, name = outer
    text = "".join([name, *reversed(names)])
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]}…{text[-SHOWN:]}"


def _refuse_key(key: Any, where: str) -> NoReturn:
    if type(key) is not str:
        raise InvalidValue(f"{where} has the key {short_repr(key)} of type {type(key).__name__}; JSON keys are text")
    if len(key) > MAX_KEY:
        raise InvalidValue(f"{where} has a key of {len(key):,} characters; at most {MAX_KEY:,} are stored")
    _refuse_text(key, f"a key of {where}")


def _refuse_text(text: str, where: str) -> NoReturn:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"{where} holds a lone surrogate at position {error.start}, which UTF-8 can't store; "
            "decode the text properly or escape it with errors='backslashreplace'"
        ) from None
    raise AssertionError(f"{where} can be stored")


def _refuse(item: Any, where: str) -> NoReturn:
    if type(item) is str:
        _refuse_text(item, where)
    if type(item) is int:
        raise InvalidValue(f"{where} is an integer beyond 64 bits; store it as text")
    if type(item) is float:
        raise InvalidValue(f"{where} is {item}, which JSON can't hold; store null or a finite number")
    names: dict[type, str] = {tuple: "use a list", bytes: "decode it to text", set: "use a list"}
    advice = names.get(type(item), "use text, numbers, true, false, null, lists and dicts with text keys")
    raise InvalidValue(f"{where} is of type {type(item).__name__}, which JSON can't hold; {advice}")


def encode(value: Any, path: str = "value") -> str:
    """Return the JSON text of a checked value. Raises InvalidValue if JSON can't hold it and beyond MAX_BYTES."""
    check(value, path)
    return encode_checked(value, path)


def encode_checked(value: Any, path: str = "value", limit: int = MAX_BYTES) -> str:
    """Return the JSON text of a value whose parts are checked already. Raises InvalidValue beyond ``limit``."""
    text = _encoder.encode(value)
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise InvalidValue(f"{path} takes {len(text.encode()):,} bytes as JSON; at most {limit:,} are stored")
    return text


def size(value: Any) -> int:
    """Return the bytes of a checked value as JSON."""
    return len(_encoder.encode(value).encode())


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError for anything that isn't strict JSON."""
    return _decoder.decode(text if type(text) is str else text.decode())  # type: ignore[union-attr]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.dumps and json.loads build new ones at each call with any of these options.
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
_decoder = json.JSONDecoder(parse_constant=_no_constant)


def short_repr(value: Any) -> str:
    """Return a value for an error message: never longer than a line."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, endless nesting, any error of a class's own repr
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def copy(value: Any) -> Any:
    """Return a deep copy of a JSON value. Raises InvalidValue if it is nested too deep to be one."""
    if type(value) not in _CONTAINERS:
        return value
    try:
        return _copy(value)
    except RecursionError:
        raise InvalidValue(f"{short_repr(value)} is nested more than {MAX_DEPTH} levels deep") from None


def _copy(value: Any) -> Any:
    if type(value) is dict:
        return {key: _copy(part) if type(part) in _CONTAINERS else part for key, part in value.items()}
    if len(value) > FEW and _holds_none_of(value, list, dict):
        return value[:]
    return [_copy(part) if type(part) in _CONTAINERS else part for part in value]


_CONTAINERS = frozenset([list, dict])


def _holds_none_of(parts: list[Any], *kinds: type) -> bool:
    return set(map(type, parts)).isdisjoint(kinds)


def storable_text(text: str) -> str:
    """Return a message that is safe to store: lone surrogates escaped, and the middle of a very long one cut out."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return text
