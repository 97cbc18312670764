"""The form of a document in MongoDB: its fields beside ``_id`` (its key) and ``_cas`` (its token).

JSON and BSON differ little: keys of BSON contain no NUL, and dots and dollar signs in them have a meaning for the
server, so they are percent-encoded. A field whose name begins with an underscore is, too, for those are the adapter's
own. A history field that is no list is stored under its name with an underscore, so that a head is a document without
three fields.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from zerog.exceptions import CorruptDocument
from zerog.records.attrs import TERM_FIELDS, Term, terms_in
from zerog.records.fields import HISTORY
from zerog.records.operations import Document
from zerog.support import jsonvalues

HEAD = dict.fromkeys(HISTORY, False)
"""The projection that leaves out the history."""

OWN = {f"_{field}": field for field in HISTORY}
"""Names of history fields that are no list."""

NO_FIELDS = frozenset(["_id", "_cas", *(f"_{field}" for field in TERM_FIELDS)])
"""Names of what is no field of the document: its key, its token, and the lists of its terms, for indexes."""

_odd = re.compile(r"[.$%\0]").search


@lru_cache(4096)
def quoted(name: str) -> str:
    """Return a key as it is stored within a value."""
    if not name:
        return "%"
    return re.sub(r"[.$%\0]", lambda odd: f"%{ord(odd[0]):02X}", name) if _odd(name) else name


@lru_cache(4096)
def field_name(field: str) -> str:
    """Return a field of the document as it is stored."""
    if not field.startswith("_"):
        return quoted(field)
    return "%5F" + (quoted(field[1:]) if len(field) > 1 else "")


def unquoted(name: str) -> str:
    """Return the argument of ``quoted`` or ``field_name``."""
    if "%" not in name:
        return name
    return "" if name == "%" else re.sub("%([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), name)


def to_stored(key: str, document: Document, token: int) -> Document:
    """Return a checked document as it is stored under ``key``."""
    stored: Document = {"_id": key, "_cas": token}
    for field, value in document.items():
        apart = field in HISTORY and type(value) is not list
        stored[f"_{field}" if apart else field_name(field)] = to_value(value)
        if field in TERM_FIELDS and (terms := indexed_terms(field, value)):
            stored[f"_{field}"] = terms
    return stored


def indexed_terms(field: str, value: Any) -> list[str]:
    """Return the terms of a field as the list in an index has them."""
    return [indexed_term(term) for term in terms_in(field, value)]


def indexed_term(term: Term) -> str:
    """Return a term as it is in the index."""
    return f"{term.name}\0{term.text}"


def to_value(value: Any) -> Any:
    """Return a checked value as it is stored."""
    kind = type(value)
    if kind is dict:
        return {quoted(key): to_value(part) for key, part in value.items()}
    if kind is list:
        return [to_value(part) for part in value]
    return value


def from_stored(key: str, stored: Document) -> tuple[Document, int]:
    """Return the document and its token. Raises CorruptDocument for a value that ZeroG has not written."""
    document: Document = {}
    for name, value in stored.items():
        if name not in NO_FIELDS:
            document[OWN.get(name) or unquoted(name)] = from_value(value, key, name)
    token = from_value(stored.get("_cas"), key, "_cas")
    if type(token) is not int or token < 1:
        raise CorruptDocument(f"{key} has the token {jsonvalues.short_repr(token)}; it was left as it is")
    return document, token


def from_value(value: Any, key: str, path: str) -> Any:
    """Return a value as it was before ``to_value``."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int:
        return value
    if kind is dict:
        return {unquoted(name): from_value(part, key, f"{path}.{name}") for name, part in value.items()}
    if kind is list:
        return [from_value(part, key, path) for part in value]
    if isinstance(value, int):
        return int(value)  # the driver has a separate type for integers of 64 bits
    if kind is float and value - value == 0:
        return value
    raise CorruptDocument(
        f"{key} holds {jsonvalues.short_repr(value)} under {path}, which is no JSON; it was left as it is"
    )
