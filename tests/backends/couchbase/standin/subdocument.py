"""Paths into a JSON document, and operations on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from struct import pack, unpack_from
from typing import Any

from tests.backends.couchbase.standin.protocol import Refused, Status

MAX_PATHS = 16
MAX_LEVELS = 32

GET_DOCUMENT, SET_DOCUMENT = 0x00, 0x01
GET, EXISTS, COUNT = 0xC5, 0xC6, 0xD2
DICT_ADD, DICT_UPSERT, DELETE, REPLACE, ARRAY_APPEND = 0xC7, 0xC8, 0xC9, 0xCA, 0xCB
CREATE_PARENTS, XATTR = 1, 4


def lookup(text: bytes, meta: dict[str, Any], specs: bytes) -> tuple[bool, bytes]:
    """The answer to each path of a lookup, and whether all were found."""
    answers, at, all_found = [], 0, True
    document: Any = None
    while at < len(specs):
        op, flags, size = unpack_from(">BBH", specs, at)
        path = specs[at + 4 : at + 4 + size].decode()
        at += 4 + size
        status, value = Status.OK, b""
        try:
            if op == GET_DOCUMENT:
                value = text
            elif flags & XATTR:
                value = encoded(_find(meta, parts(path)))
            else:
                document = document or (_document(text),)
                value = _looked_up(op, _find(document[0], parts(path)))
        except Refused as refused:
            status, all_found = refused.status, False
        answers.append(pack(">HI", status, len(value)) + value)
    _check_count(answers)
    return all_found, b"".join(answers)


def mutate(text: bytes | None, specs: bytes) -> bytes:
    """The document after all the changes. Raises Refused, with the number of the change that failed."""
    at, number = 0, 0
    parents = text is None
    try:
        root = [{} if text is None else _document(text)]
        while at < len(specs):
            op, flags, size, length = unpack_from(">BBHI", specs, at)
            path = specs[at + 8 : at + 8 + size].decode()
            value = specs[at + 8 + size : at + 8 + size + length]
            at += 8 + size + length
            _change(root, op, parts(path), value, parents or bool(flags & CREATE_PARENTS))
            number += 1
    except Refused as refused:
        raise Refused(Status.MULTI_FAILURE, pack(">BH", number, refused.status)) from None
    if number > MAX_PATHS:
        raise Refused(Status.INVALID_COMBINATION)
    return encoded(root[0])


def parts(path: str) -> list[str | int]:
    """``a.b[3].`c.d``` split into its parts."""
    found: list[str | int] = []
    at = 0
    while at < len(path):
        if path[at] == "[":
            end = path.index("]", at)
            found.append(int(path[at + 1 : end]))
            at = end + 1
        elif path[at] == "`":
            name, at = _quoted(path, at + 1)
            found.append(name)
        else:
            end = at
            while end < len(path) and path[end] not in ".[`":
                end += 1
            if end == at:
                raise Refused(Status.PATH_INVALID)
            found.append(path[at:end])
            at = end
        if at < len(path) and path[at] == ".":
            at += 1
            if at == len(path):
                raise Refused(Status.PATH_INVALID)
    return found


def encoded(value: Any) -> bytes:
    """A value as the server keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _quoted(path: str, at: int) -> tuple[str, int]:
    name = ""
    while path[at : at + 1] != "`" or path[at + 1 : at + 2] == "`":
        if at >= len(path):
            raise Refused(Status.PATH_INVALID)
        at += path[at] == "`"
        name += path[at]
        at += 1
    return name, at + 1


def _looked_up(op: int, value: Any) -> bytes:
    if op == GET:
        return encoded(value)
    if op == EXISTS:
        return b""
    if op != COUNT:
        raise Refused(Status.INVALID)
    if not isinstance(value, (list, dict)):
        raise Refused(Status.PATH_MISMATCH)
    return str(len(value)).encode()


def _change(root: list[Any], op: int, path: list[str | int], value: bytes, parents: bool) -> None:
    if op == SET_DOCUMENT and not path:
        root[0] = _value(value)
        return
    if not path:
        raise Refused(Status.PATH_INVALID)
    if op == ARRAY_APPEND:
        entries = _find(root[0], path, parents, list)
        if not isinstance(entries, list):
            raise Refused(Status.PATH_MISMATCH)
        entries.extend(_value(b"[" + value + b"]"))
        return
    parent, last = _find(root[0], path[:-1], parents and op in (DICT_ADD, DICT_UPSERT)), path[-1]
    if op in (DICT_ADD, DICT_UPSERT):
        if isinstance(last, int):
            raise Refused(Status.PATH_INVALID)
        if not isinstance(parent, dict):
            raise Refused(Status.PATH_MISMATCH)
        if op == DICT_ADD and last in parent:
            raise Refused(Status.PATH_EXISTS)
        parent[last] = _value(value)
        return
    _step(parent, last)
    if op == REPLACE:
        parent[last] = _value(value)
    elif op == DELETE:
        del parent[last]
    else:
        raise Refused(Status.INVALID)


def _find(root: Any, path: list[str | int], parents: bool = False, kind: Callable[[], Any] = dict) -> Any:
    """The value under a path; what is missing of it is made if ``parents``, its end as ``kind``."""
    here = root
    for number, part in enumerate(path):
        try:
            here = _step(here, part)
        except Refused as refused:
            if not (parents and refused.status == Status.PATH_NOT_FOUND and isinstance(here, dict)):
                raise
            here[part] = kind() if number + 1 == len(path) else {}
            here = here[part]
    return here


def _step(here: Any, part: str | int) -> Any:
    if not isinstance(here, list if isinstance(part, int) else dict):
        raise Refused(Status.PATH_MISMATCH)
    try:
        return here[part]
    except (IndexError, KeyError):
        raise Refused(Status.PATH_NOT_FOUND) from None


def _document(text: bytes) -> Any:
    try:
        document = json.loads(text)
    except ValueError:
        raise Refused(Status.NOT_JSON) from None
    if _levels(document) > MAX_LEVELS:
        raise Refused(Status.DOC_TOO_DEEP)
    return document


def _value(text: bytes) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        raise Refused(Status.CANT_INSERT) from None
    if _levels(value) > MAX_LEVELS:
        raise Refused(Status.VALUE_TOO_DEEP)
    return value


def _levels(value: Any) -> int:
    if not isinstance(value, (list, dict)):
        return 0
    children = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_levels, children), default=0)


def _check_count(specs: list[bytes]) -> None:
    if len(specs) > MAX_PATHS:
        raise Refused(Status.INVALID_COMBINATION)
