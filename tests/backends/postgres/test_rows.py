"""The parts of a new document that are taken over from another one are those that it would have by itself."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.backends.postgres.rows import judged, stored, stored_like
from zerog.exceptions import InvalidValue
from zerog.records.fields import FIELDS, HISTORY
from zerog.records.job import make_key, new_document, new_uuid
from zerog.records.operations import Document
from zerog.support.jsonvalues import JOB_BYTES

NOW = "2026-12-01T10:00:00.000000+00:00"
OTHER_VALUES = [None, True, 1, 1.0, "other", "queued", "2026-12-01T10:00:01.000000+00:00", [], {"a": 1}, [{"at": NOW}]]


def pair(**changed: Any) -> tuple[Document, Document]:
    """Two new documents with the same values, but for ``changed``."""
    one = {**new_document("made", 1.0, NOW), "status": "queued", "queueState": "queued", "n": 1}
    uuid = new_uuid()
    histories = {field: list[Any]() for field in HISTORY}
    return one, {**one, **histories, "uuid": uuid, "logId": uuid[-8:], "n": 2, **changed}


def likened(one: Document, other: Document) -> Any:
    parts = stored(make_key(one["uuid"]), one, JOB_BYTES)
    return stored_like(make_key(other["uuid"]), other, JOB_BYTES, parts, judged(one))


def test_a_document_that_differs_in_uuid_and_parameters() -> None:
    one, other = pair(m="new")
    assert likened(one, other) == stored(make_key(other["uuid"]), other, JOB_BYTES)


@pytest.mark.parametrize("field", sorted({*FIELDS} - {"uuid"}))
def test_any_other_field_that_differs(field: str) -> None:
    for value in OTHER_VALUES:
        one, other = pair(**{field: value})
        assert likened(one, other) in (None, stored(make_key(other["uuid"]), other, JOB_BYTES)), value
    one, other = pair()
    other.pop(field, None)
    assert likened(one, other) in (None, stored(make_key(other["uuid"]), other, JOB_BYTES))


def test_an_unsound_document_makes_no_other_one_unsound() -> None:
    one, other = pair()
    one["epoch"] = -1
    assert likened(one, other) is None
    _, other = pair()
    key = make_key(new_uuid())
    assert stored_like(key, other, JOB_BYTES, stored(key, other, JOB_BYTES), judged(other)) is None


def test_the_size_is_that_of_each() -> None:
    one, other = pair(text="x" * 1_000)
    with pytest.raises(InvalidValue, match="takes"):
        stored_like(make_key(other["uuid"]), other, 500, stored(make_key(one["uuid"]), one, JOB_BYTES), judged(one))
