"""What jobs are found by beside the engine's own fields: their attributes, and the kind of their last error.

A *term* is a name and a text. ``attrs`` of a head makes one of each of its members; ``lastError`` makes terms with the
empty name, which no attribute has: its fingerprint, and its type with and without the module. An adapter keeps an index
of the terms of each document.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zerog.records.operations import Document
from zerog.support import jsonvalues

MOST = 8
"""Attributes that a job class may have."""

LONGEST = 128
"""Characters of an attribute's text."""

ATTRS, LAST_ERROR = "attrs", "lastError"
TERM_FIELDS = frozenset([ATTRS, LAST_ERROR])
"""The fields of a head that terms are made of."""


OWN = "~"
"""Beginning of the names of members of ``attrs`` that the engine writes: no field's name begins with it."""


class Term(NamedTuple):
    """A name and a text that a job may be found by."""

    name: str
    text: str


def own_attrs(head: Document) -> dict[str, str]:
    """Return the members of ``attrs`` that the engine has written."""
    attrs = head.get(ATTRS)
    return {name: text for name, text in attrs.items() if name.startswith(OWN)} if type(attrs) is dict else {}


def shown_attrs(head: Document) -> dict[str, str]:
    """Return the members of ``attrs`` that are the job's attributes."""
    attrs = head.get(ATTRS)
    return {name: text for name, text in attrs.items() if not name.startswith(OWN)} if type(attrs) is dict else {}


def text_of(value: Any) -> str | None:
    """Return the canonical text of a JSON value: a text as it is, others as JSON; None if there is no value."""
    if value is None or type(value) is str:
        return value
    return jsonvalues.encode_checked(value)


def terms_in(field: str, value: Any) -> list[Term]:
    """Return the terms of a field's value, sorted; none for a value that ZeroG has not written."""
    if type(value) is not dict:
        return []
    if field == ATTRS:
        return sorted(Term(name, text) for name, text in value.items() if name and type(text) is str)
    return [Term("", text) for text in sorted(error_texts(value))]


def terms_of(head: Document) -> list[Term]:
    """Return all terms of a head."""
    return [term for field in TERM_FIELDS if field in head for term in terms_in(field, head[field])]


def error_texts(last: Document) -> set[str]:
    """Return the texts by which a last error is found."""
    kind, fingerprint = last.get("type"), last.get("fingerprint")
    found = {fingerprint} if type(fingerprint) is str else set()
    if type(kind) is str:
        found |= {kind, kind.rpartition(".")[2]}
    return {text for text in found if text}
