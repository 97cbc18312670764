"""Change one of the documents in which operators leave commands to all workers; a damaged one is made anew."""

from __future__ import annotations

import logging
from collections.abc import Callable

from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument
from zerog.records.job import Document

log = logging.getLogger("zerog")


def change_document(
    engine: Engine, key: str, check: Callable[[Document | None], object], change: Callable[[Document], Document | None]
) -> bool:
    """Change the document under ``key`` by compare-and-swap; False if there is nothing to change.

    ``change`` returns the fields to store of the record that it is given, which it must not alter; None for no change.
    ``check`` raises CorruptDocument for a record that can't be read; that is forgotten. Raises what ``change`` raises
    and the errors of the datastore.
    """
    attempts = Attempts(engine.datastore, key, engine.clock)
    while True:
        record, token, is_damaged = _read(engine, key, check)
        changed = change(record)
        if changed is None and not is_damaged:
            return attempts.unanswered > 0  # it may be this write that has changed it
        with attempts:
            engine.datastore.set_with_cas(key, {**record, "documentType": key, **(changed or {})}, token)
            return True


def _read(engine: Engine, key: str, check: Callable[[Document | None], object]) -> tuple[Document, int, bool]:
    """Return the record, its token, and whether it was damaged; then it is read as an empty one."""
    token: int | None = None
    try:
        record, token = engine.datastore.read_with_cas(key)
        check(record)
        return record or {}, token or 0, False
    except CorruptDocument as error:
        log.warning("the commands in %s can't be read and are forgotten: %s", key, error)
        if token is None:
            engine.datastore.delete(key)
        return {}, token or 0, True
