"""The documents to be tried: of the app's datastore, of another one, or of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zerog.backends.urls import open_datastore
from zerog.cli.app_argument import load_shared
from zerog.cli.options import Filters
from zerog.contracts.datastore import Datastore, without_history
from zerog.contracts.find import FindQuery
from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.records.fields import NEW
from zerog.records.job import PAUSED, RUNNING, WAITING, Document
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock

UNFINISHED = (NEW, *WAITING, PAUSED, RUNNING)


@contextmanager
def documents_of(app: str, source: str | None, filters: Filters) -> Iterator[tuple[Iterator[Document], int | None]]:
    """Give the heads that the filters select, unfinished ones unless they name a status, and how many there are.

    None in place of a number that isn't known. Raises ConfigurationError, InvalidValue for a file without documents.
    """
    if source is None:
        shared = load_shared(app)
        yield _in_datastore(shared.datastore, shared.clock, filters), _total(shared.datastore, filters)
    elif "://" not in source:
        yield _in_file(Path(source), filters), None
    else:
        datastore = open_datastore(source)
        if not datastore.shared:
            raise ConfigurationError(f"--from {source} keeps nothing that another process could read; nothing was done")
        try:
            yield _in_datastore(datastore, SYSTEM, filters), _total(datastore, filters)
        finally:
            datastore.close()


def _in_datastore(datastore: Datastore, clock: Clock, filters: Filters) -> Iterator[Document]:
    for query in filters.queries(clock.now(), UNFINISHED):
        yield from query.heads(datastore, clock)


def _total(datastore: Datastore, filters: Filters) -> int | None:
    """Return how many documents there are at most; None if that would take long to count."""
    if filters != Filters(filters.statuses):
        return None
    counts = [datastore.count(FindQuery(status)) for status in filters.statuses or UNFINISHED]
    return None if any(count.is_capped for count in counts) else sum(count.number for count in counts)


def _in_file(path: Path, filters: Filters) -> Iterator[Document]:
    now = SYSTEM.now()
    queries = filters.queries(now, UNFINISHED)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    document = _read(line, f"{path}, line {number}")
                    if any(query.fits(document, now) for query in queries):
                        yield document
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from None


def _read(line: str, where: str) -> Document:
    try:
        document = jsonvalues.decode(line)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{where} is no JSON: {error}; expected a document in each line") from None
    if not isinstance(document, dict):
        raise InvalidValue(f"{where} is no object; expected a document in each line")
    return without_history(document)
