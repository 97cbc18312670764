"""The commands of the script on a Redis server for documents, and the parsing of its answers.

The document verbs and the engine of one server share them; ``script`` describes the storage.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from zerog.backends.redis.script import APART
from zerog.contracts.datastore import Mutation, RunGuard
from zerog.exceptions import CorruptDocument
from zerog.records.attrs import TERM_FIELDS, terms_in
from zerog.records.fields import HISTORY
from zerog.records.job import make_key
from zerog.records.operations import Add, Append, Document, Max, Operation, Put, Remove, Set, dropped_field
from zerog.records.room import is_measured
from zerog.support import jsonvalues

Command = dict[str, Any]

IS_APART = frozenset(APART)

_SIMPLE = {None: "null", True: "true", False: "false"}
_COUNTERS = frozenset(f',"{dropped_field(field)}":' for field in HISTORY)


def reading(key: str, head: bool = True) -> Command:
    """Return the command that reads a document's head, or all of it."""
    return {"command": "read", "key": key} if head else {"command": "read", "key": key, "whole": "1"}


def head_of(key: str, answer: Sequence[Any]) -> Document:
    """Return the head in the answer to ``reading``. Raises CorruptDocument."""
    return json_of(key, b"{%b}" % answer[1][1:], dict)  # type: ignore[no-any-return]


def token_of(key: str, answer: Sequence[Any]) -> int:
    """Return the token in the answer to ``reading``. Raises CorruptDocument."""
    if not answer[0].isdigit():
        raise CorruptDocument(f"{key} has the token {answer[0]!r}; it was left as it is")
    return int(answer[0])


def stored(key: str, document: Document, limit: int = jsonvalues.MAX_BYTES) -> Command:
    """Return a document's parts as they are stored. Raises InvalidValue for a body of more than ``limit`` bytes."""
    lists = {field: document[field] for field in HISTORY if type(document.get(field)) is list}
    body = {field: value for field, value in document.items() if field not in IS_APART and field not in lists}
    fields: list[str] = []
    for field in APART:
        if field in document:
            fields += (hash_name(field), text_of(document[field], field))
    command: Command = {
        "key": key,
        "first_token": str(_first_token()),
        "body": f",{inside}" if (inside := jsonvalues.encode_checked(body, key, limit)[1:-1]) else "",
        "lists": "".join(map(hash_name, lists)),
        "fields": fields,
    }
    history = {
        hash_name(field): [jsonvalues.encode_checked(entry, field) for entry in entries]
        for field, entries in lists.items()
        if entries
    }
    if history:
        command["history"] = history
    for field in TERM_FIELDS:
        if document.get(field) and (terms := terms_in(field, document[field])):
            command[field] = jsonvalues.encode_checked([[*term] for term in terms])
    return command


def change(
    key: str,
    operations: Sequence[Operation],
    cas: int | None = None,
    run: RunGuard | None = None,
) -> Command | None:
    """Return the command for a ``mutate`` of checked operations; None if the script could not do it."""
    command: Command = {"command": "mutate", "key": key}
    if cas is not None:
        command["token"] = str(cas)
    if run is not None:
        if type(run.epoch) is not int or type(run.nonce) is not str:
            return None
        command["epoch"], command["nonce"] = str(run.epoch), f'"nonce":{encode_basestring(run.nonce)}'
        if run.seq is not None:
            if run.seq < 1:
                return None
            command["seq_before"], command["seq"] = str(run.seq - 1), str(run.seq)
    fields: dict[str, str] = {}
    others: list[Operation] = []
    for operation in operations:
        kind, field = type(operation), operation.field
        if (field in HISTORY) != (kind is Append) or kind is Remove or kind is Put:
            return None
        if field in TERM_FIELDS:
            if kind is not Set:
                return None
            terms = terms_in(field, operation.value)  # type: ignore[union-attr]
            command[field] = jsonvalues.encode_checked([[*term] for term in terms])
        if kind is Set:
            fields[hash_name(field)] = text_of(operation.value, field)  # type: ignore[union-attr]
        else:
            others.append(operation)
    if others:
        if any(hash_name(operation.field) in fields for operation in others) or _COUNTERS & fields.keys():
            fields, others = {}, list(operations)  # their order matters
        coded = [_coded(operation) for operation in others]
        command["operations"] = [text for texts in coded for text in texts]
        if is_measured(sum(len(texts[2]) for texts in coded if texts[0] == "h")):
            command["measured"] = "1"
    command["fields"] = [text for pair in fields.items() for text in pair]
    return command


def _coded(operation: Operation) -> tuple[str, ...]:
    """Return an operation in the script's form."""
    field = operation.field
    name = hash_name(field)
    if isinstance(operation, Max):
        return "m", name, text_of(operation.value, field)
    if isinstance(operation, Add):
        low, high = ("" if bound is None else text_of(bound, field) for bound in (operation.low, operation.high))
        return "a", name, text_of(operation.amount, field), low, high
    if isinstance(operation, Append):
        keep = "" if operation.keep is None else str(operation.keep)
        return "h", name, jsonvalues.encode_checked(operation.value, field), keep
    assert isinstance(operation, Set)
    return "s", name, text_of(operation.value, field)


def replacing(key: str, fields: Document, cas: int) -> Command:
    """Return the command that replaces fields of a head under its token."""
    flat: list[str] = []
    for field, value in fields.items():
        flat += (hash_name(field), text_of(value, field))
    return {"command": "mutate", "key": key, "token": str(cas), "fields": flat}


def discarding(head: Document) -> Command:
    """Return the command that removes a document if its end is still that of its head."""
    texts = [
        part for field in ("status", "epoch", "finishedAt") for part in (hash_name(field), text_of(head[field], field))
    ]
    return {"command": "discard", "key": make_key(head["uuid"]), "fields": texts}


def changed_by(answer: Sequence[Any], operations: Sequence[Operation]) -> Mutation:
    """Return the mutation in the answer to a ``change``."""
    changed: Document = {}
    texts = iter(answer[2])
    for operation in operations:
        field = operation.field
        if type(operation) is Set:
            changed[field] = jsonvalues.copy(operation.value)
        elif type(operation) is Append:
            dropped = next(texts)
            if dropped:
                changed[dropped_field(field)] = jsonvalues.decode(dropped)
        else:
            changed[field] = jsonvalues.decode(next(texts))
    return Mutation(int(answer[0]), changed, answer[1] == 1)


@lru_cache(4096)
def hash_name(field: str) -> str:
    """Return a field's name in the hash: a part of a JSON text."""
    return f",{encode_basestring(field)}:"


def text_of(value: Any, field: str) -> str:
    """Return a checked value as JSON. Raises InvalidValue if it is too large."""
    kind = type(value)
    if kind is str and len(value) < 1_000:
        return encode_basestring(value)
    if kind is int or kind is float:
        return repr(value)
    if value is None or kind is bool:
        return _SIMPLE[value]
    return jsonvalues.encode_checked(value, field)


def needs_whole(operations: Sequence[Operation], lists: bytes) -> bool:
    """Return True if the operations can only be applied to the document as a whole."""
    for operation in operations:
        if type(operation) is Remove:
            return True
        if operation.field in HISTORY and (
            type(operation) is not Append or hash_name(operation.field).encode() not in lists
        ):
            return True
    counters = {dropped_field(operation.field) for operation in operations if operation.field in HISTORY}
    return any(operation.field in counters for operation in operations)


def json_of(key: str, text: bytes, kind: type) -> Any:
    """Return the value of a stored text. Raises CorruptDocument, also for a value of another kind."""
    try:
        value = jsonvalues.decode(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDocument(f"{key} can't be read ({error}); it was left as it is") from None
    if type(value) is not kind:
        holds = jsonvalues.short_repr(value)
        raise CorruptDocument(f"{key} holds {holds}, not a JSON {kind.__name__}; it was left as it is")
    return value


def _first_token() -> int:
    """Return a random first token for a new document, so that it differs from those of a deleted one of that key."""
    return int.from_bytes(os.urandom(6)) + 1
