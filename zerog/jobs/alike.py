"""New documents that differ in their uuids and parameters alone, of which only the first is made of a job object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.records.attrs import ATTRS
from zerog.records.fields import HISTORY
from zerog.records.job import Document, new_uuid


def needs_objects(job_class: type[BaseJob]) -> bool:
    """True if a class has something to do with each of its new jobs, or a limit that may warn about one of them."""
    is_plain = job_class.__new__ is object.__new__ and job_class.__init__ is BaseJob.__init__
    return not is_plain or job_class.UNIQUE is not None or job_class.MAX_DOCUMENT is not None


def documents_like(job: BaseJob, attributes: Sequence[Mapping[str, Any]], limits: Document) -> list[Document]:
    """Return a new document for each of ``attributes``; otherwise they are like that of a new job object.

    They share the values that are the same. ``limits``: further fields of each. Raises InvalidValue for a value that
    could not be read again.
    """
    document = document_of(job)
    common, indexed = {**document.new(), **limits}, document.declaration.indexed
    declared = [
        (field, field.attribute, field.key, field.is_left_out) for field in document.declaration.fields.values()
    ]
    made: list[Document] = []
    for own in attributes:
        uuid = new_uuid()
        new = {**common, "uuid": uuid, "logId": uuid[-8:]}
        for field, attribute, key, is_left_out in declared:
            value = own[attribute] if attribute in own else field.initial()
            if value is not None or not is_left_out:
                new[key] = field.dump(value)
            else:
                new.pop(key, None)
        for name in HISTORY:
            new[name] = []
        if indexed:
            new.pop(ATTRS, None)
            if attrs := indexed.of(new):
                new[ATTRS] = attrs
        made.append(new)
    return made
