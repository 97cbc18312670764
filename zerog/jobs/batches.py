"""Store new job objects, many in one call of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import engine_attributes
from zerog.jobs.document import document_of
from zerog.records.fields import HISTORY, named
from zerog.records.job import Document, make_key

BATCH = 500
"""Documents that are stored in one call of the engine."""

SUBMIT_CHANGES = named(lambda field: field.submit_changes)
"""The fields in which a submitted document differs from the job object it was made of."""


def submit_all(engine: Any, jobs: Sequence[BaseJob], delay: float) -> None:
    """Submit new jobs to the engine; then the objects are as they are stored.

    Raises InvalidValue for a value that can't be stored, before anything is; and what the engine raises, with a note of
    how many are stored if there are several.
    """
    documents = [document_of(job).new() for job in jobs]
    for start in range(0, len(jobs), BATCH):
        try:
            stored = engine.submit(documents[start : start + BATCH], delay)
        except Exception as error:
            if len(jobs) > 1:
                error.add_note(f"{_count_stored(engine, documents)} of {len(jobs)} jobs are stored and will run")
            raise
        for job, (document, token) in zip(jobs[start : start + BATCH], stored, strict=True):
            head = {f: value for f, value in document.items() if f not in HISTORY}
            job.__dict__.update(engine_attributes({f: head[f] for f in SUBMIT_CHANGES}))
            document_of(job).bind(head, head, token)


def _count_stored(engine: Any, documents: Sequence[Document]) -> int | str:
    try:
        return sum(engine.datastore.read(make_key(document["uuid"])) is not None for document in documents)
    except Exception:  # the first error is the one to report
        return "an unknown number"
