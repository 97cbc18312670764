"""Documents as the JSON texts that a cluster stores."""

from __future__ import annotations

from collections.abc import Sequence

from zerog.contracts.datastore import check_document
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.records.fields import HISTORY
from zerog.records.operations import Document, Operation
from zerog.records.room import drop_oldest, limit_of
from zerog.support import jsonvalues

LARGEST = 8 * 1024 * 1024
"""Bytes of a whole document, its history included. The server takes 20 MiB."""


def decoded(key: str, text: bytes) -> Document:
    """Return the document of a text. Raises CorruptDocument."""
    try:
        document = jsonvalues.decode(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDocument(f"{key} holds no JSON ({error}); it was left as it is") from None
    if type(document) is not dict:
        raise CorruptDocument(f"{key} holds {jsonvalues.short_repr(document)}, not a JSON object; it was left as it is")
    return document


def encoded(key: str, document: Document, limit: int = jsonvalues.MAX_BYTES) -> bytes:
    """Return the text of a document.

    Raises InvalidValue for a head of more than ``limit`` bytes, and for an entry of the history or a whole that is too
    large.
    """
    check_document(key, document)
    head, parts = 0, []
    for field, value in document.items():
        if field in HISTORY and type(value) is list:
            text = f"[{','.join(jsonvalues.encode_checked(entry, field) for entry in value)}]"
        else:
            text = jsonvalues.encode_checked(value, key)
            head += len(text.encode())
        parts.append(f"{jsonvalues.encode_checked(field)}:{text}")
    whole = f"{{{','.join(parts)}}}".encode()
    if head > limit or len(whole) > LARGEST:
        raise InvalidValue(
            f"{key} takes {head:,} bytes as JSON, {len(whole):,} with its history; at most {limit:,} and "
            f"{LARGEST:,} are stored"
        )
    return whole


def shortened(key: str, document: Document, operations: Sequence[Operation], changed: Document) -> bytes:
    """Return the text of a changed document, without the oldest entries of a history that would make it too large."""
    while True:
        try:
            return encoded(key, document, limit_of(operations))
        except InvalidValue:
            if not drop_oldest(document, 0, operations, changed):
                raise
