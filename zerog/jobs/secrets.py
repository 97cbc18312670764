"""Fields that only the job itself may see: ``fields.String(metadata={"secret": True})``.

The stored document and the job's attribute hold the value. Everything that shows a job shows HIDDEN in its place.
"""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from zerog.exceptions import InvalidJobClass

HIDDEN = "[secret]"
"""Shown in place of a secret."""

REFUSED = "Not valid; the value is secret and is not shown."
"""Message for a secret's wrong value: a validator's own message might contain the value."""


def is_secret(field: fields.Field[Any]) -> bool:
    """Return True if a field is marked as secret."""
    return field.metadata.get("secret") is True


def check_marks(where: str, field: fields.Field[Any]) -> None:
    """Refuse a mark that would hide nothing. Raises InvalidJobClass."""
    if field.metadata.get("secret", False) not in (True, False):
        raise InvalidJobClass(f"{where} with secret={field.metadata['secret']!r:.80} in its metadata; expected True")
    inner = _marked_inside(field, set())
    if inner is not None and not is_secret(field):
        raise InvalidJobClass(f"{where}, in which {inner} is marked as secret; expected the mark on the whole field")


def _marked_inside(field: fields.Field[Any], seen: set[type]) -> str | None:
    """Return the name of a secret part of a field, or None."""
    inner = [getattr(field, name, None) for name in ("inner", "key_field", "value_field")]
    parts = {f"a part ({type(part).__name__})": part for part in inner if isinstance(part, fields.Field)}
    if isinstance(field, fields.Nested) and type(field.schema) not in seen:
        seen.add(type(field.schema))
        parts.update(field.schema.fields)
    for name, part in parts.items():
        found = name if is_secret(part) else _marked_inside(part, seen)
        if found is not None:
            return found
    return None


def redacted(document: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return a document with HIDDEN in place of those fields' values; ``document`` itself if it has none of them."""
    if names.isdisjoint(document):
        return document
    return {name: HIDDEN if name in names and value is not None else value for name, value in document.items()}
