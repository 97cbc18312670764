"""What a document may hold: JSON, exactly.

Python's encoder quietly turns tuples into lists, integer keys into text and NaN into something no JSON reader takes.
A value that would not come back as it went in is refused here, at the write, with the path of the offending part.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from zerog.exceptions import InvalidValue

MAX_DEPTH = 64
"""Levels of nesting that a value may have."""

JOB_BYTES = 4 * 1024 * 1024
"""Size to which jobs and callers may fill a document, in bytes of UTF-8."""

MAX_BYTES = JOB_BYTES + 512 * 1024
"""Size of one encoded value or document: what is beyond JOB_BYTES is for the engine's own writes."""

HISTORY_BYTES = 16 * 1024 * 1024
"""Bytes of each bounded list of a history where it is stored apart: beyond them the oldest entries fall out, too."""

MAX_TEXT = 64 * 1024
"""Characters kept of one message or traceback in a document's history."""

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)


def check(value: Any, path: str = "value", depth: int = 0) -> None:
    """Refuse what JSON can't give back unchanged. Raises InvalidValue, naming the path within ``value``.

    ``depth``: how many levels deep the value will lie in what is stored.
    """
    if value is None or type(value) is bool:
        return
    todo: list[tuple[Any, str, int]] = [(value, path, depth)]
    while todo:
        item, where, depth = todo.pop()
        kind = type(item)
        if kind is str:
            _check_text(item, where)
        elif kind is int:
            if not _SMALLEST <= item <= _LARGEST:
                raise InvalidValue(f"{where} is an integer beyond 64 bits; store it as text")
        elif kind is float:
            if item != item or item in (float("inf"), float("-inf")):
                raise InvalidValue(f"{where} is {item}, which JSON can't hold; store null or a finite number")
        elif kind is list or kind is dict:
            if depth >= MAX_DEPTH:
                raise InvalidValue(f"{where[:200]} is nested more than {MAX_DEPTH} levels deep")
            todo.extend(_children(item, where, depth + 1))
        elif item is not None and kind is not bool:
            _refuse(item, where)


def _children(item: Any, where: str, depth: int) -> list[tuple[Any, str, int]]:
    if type(item) is list:
        return [(part, f"{where}[{index}]", depth) for index, part in enumerate(item)]
    children = []
    for key, part in item.items():
        if type(key) is not str:
            raise InvalidValue(f"{where} has the key {shown(key)} of type {type(key).__name__}; JSON keys are text")
        _check_text(key, f"a key of {where}")
        children.append((part, f"{where}.{key}", depth))
    return children


def _check_text(text: str, where: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(
                f"{where} holds a lone surrogate at position {error.start}, which UTF-8 can't store; "
                "decode the text properly or escape it with errors='backslashreplace'"
            ) from None


def _refuse(item: Any, where: str) -> NoReturn:
    names: dict[type, str] = {tuple: "use a list", bytes: "decode it to text", set: "use a list"}
    advice = names.get(type(item), "use text, numbers, true, false, null, lists and dicts with text keys")
    raise InvalidValue(f"{where} is of type {type(item).__name__}, which JSON can't hold; {advice}")


def encode(value: Any, path: str = "value") -> str:
    """The JSON text of a checked value. Raises InvalidValue for what JSON can't hold and for more than MAX_BYTES."""
    check(value, path)
    return encode_checked(value, path)


def encode_checked(value: Any, path: str = "value", limit: int = MAX_BYTES) -> str:
    """The JSON text of a value whose parts were checked when they came in. Raises InvalidValue beyond ``limit``."""
    text = _encoder.encode(value)
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise InvalidValue(f"{path} takes {len(text.encode()):,} bytes as JSON; at most {limit:,} are stored")
    return text


def size(value: Any) -> int:
    """The bytes of a checked value as JSON."""
    return len(_encoder.encode(value).encode())


def decode(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything that isn't strict JSON."""
    return _decoder.decode(text if type(text) is str else text.decode())  # type: ignore[union-attr]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.dumps and json.loads build new ones at each call that has any of these options.
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
_decoder = json.JSONDecoder(parse_constant=_no_constant)


def shown(value: Any) -> str:
    """A value as an error message shows it: never longer than a line."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, endless nesting, whatever a class's own repr raises
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def copy(value: Any) -> Any:
    """A deep copy of a JSON value."""
    kind = type(value)
    if kind is dict:
        return {key: copy(part) for key, part in value.items()}
    if kind is list:
        return [copy(part) for part in value]
    return value


def storable_text(text: str) -> str:
    """A message made safe to store: lone surrogates escaped, and cut in the middle if it is very long."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return text
