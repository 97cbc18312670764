"""Try a job class on a stored document before a worker does: lift, load, dump and load it, and write nothing.

Each step is repeated, and done once more under another clock: until the job is written, its document is lifted at each
read, and each read has to give the same job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.jobs.declaration import Declaration, declaration_of
from zerog.jobs.document import document_of
from zerog.jobs.load import load_job
from zerog.records.fields import ENGINE_FIELDS
from zerog.records.job import KEY_PREFIX, Document, check_head
from zerog.support import jsonvalues
from zerog.support.texts import name_of

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

FAILS, LOSES, CHANGES, CLOCK = KINDS = ("fails", "loses", "changes", "clock")
"""Kinds of findings: it can't be read; a value goes nowhere; another read gives another value; so does another time."""

At = Callable[[float], AbstractContextManager[object]]
"""Sets the clock of the process to a time, in seconds since 1970."""

LATER = 400 * 86_400.0 + 25_367
"""Seconds between the two clocks: another year, month, weekday, hour and minute."""

MOST = 300
"""Characters of a reason."""

LEAVES = 50
"""Dropped values that are looked into, of each document."""


class Finding(NamedTuple):
    """What is wrong with one document."""

    kind: str
    field: str | None
    """Its key in the document, with the keys below it joined by dots; None if no single field is to blame."""
    reason: str


class Rehearsal:
    """Judges documents; ``at`` sets the clock, whose first time is ``now``."""

    def __init__(self, at: At, now: float) -> None:
        self._at = at
        self._clocks = (now, now, now + LATER)
        self._parts = MemoryDatastore(), MemoryQueue()

    def judge(self, job_class: type[BaseJob], head: Document) -> list[Finding]:
        """Return what is wrong with a document for this class: nothing if it fits, or is lifted well.

        What its migrations drop is found by ``losses``.
        """
        declaration = declaration_of(job_class)
        try:
            check_head(f"{KEY_PREFIX}{head.get('uuid')}", head)
            lifts = [self._lift(declaration, head, clock) for clock in self._clocks]
        except (Exception, SystemExit) as error:  # a migration is the user's own code
            return [Finding(FAILS, None, _reason(error, head))]
        findings = [*_compared(lifts, "of a migration")]
        lifted = lifts[0]
        try:
            forms = [self._stored(job_class, lifted, clock) for clock in self._clocks]
        except (Exception, SystemExit) as error:
            return [*findings, Finding(FAILS, _failing(declaration, lifted), _reason(error, head))]
        found = {finding.field for finding in findings}
        findings += (each for each in _compared(forms, "of a field") if each.field not in found)
        try:
            again = self._stored(job_class, forms[0], self._clocks[0])
        except (Exception, SystemExit) as error:
            reason = f"what it would store can't be read again: {_reason(error, head)}"
            return [*findings, Finding(FAILS, _failing(declaration, forms[0]), reason)]
        found = {finding.field for finding in findings}
        findings += (
            Finding(CHANGES, field, "changes again each time that the job is read and stored")
            for field in _different(forms[0], again)
            if field not in found
        )
        return [*findings, *_unread(declaration, lifted, forms[0])]

    def losses(self, job_class: type[BaseJob], head: Document) -> Iterator[Finding]:
        """Yield the values that the migrations drop, of a document for which ``judge`` has found no failure.

        They run on it with other values, which may be wrong ones to them: they may even end or block the process.
        """
        declaration = declaration_of(job_class)
        lifted = self._lift(declaration, head, self._clocks[0])
        paths = [path for path in _dropped((), head, lifted) if path[0] not in ENGINE_FIELDS]
        for path in paths[:LEAVES]:
            if self._is_unused(declaration, head, path, lifted):
                reason = f"is dropped: version {declaration.version} is the same whatever its value was"
                yield Finding(LOSES, ".".join(path), reason)

    def _lift(self, declaration: Declaration, head: Document, clock: float) -> Document:
        with self._at(clock):
            lifted: Document = jsonvalues.copy(declaration.chain.lift(head))
        return lifted

    def _stored(self, job_class: type[BaseJob], lifted: Document, clock: float) -> Document:
        """Return what the next save of the job would make of its document."""
        with self._at(clock):
            loaded = (lifted, lifted, *declaration_of(job_class).load(lifted))
            return document_of(load_job(job_class, loaded, 1, *self._parts)).attributes.dump()

    def _is_unused(self, declaration: Declaration, head: Document, path: tuple[str, ...], lifted: Document) -> bool:
        """Return True if the lifted document doesn't depend on a value: other ones in its place make no difference."""
        for other in _others(_at_path(head, path)):
            changed: Document = jsonvalues.copy(head)
            _at_path(changed, path[:-1])[path[-1]] = other
            try:
                if self._lift(declaration, changed, self._clocks[0]) != lifted:
                    return False
            except (Exception, SystemExit):  # it looks at the value
                return False
        return True


def _unread(declaration: Declaration, lifted: Document, form: Document) -> Iterator[Finding]:
    """Yield the stored values that the job object won't have."""
    for field in declaration.undeclared(lifted):
        yield Finding(LOSES, field, "is stored, and the class doesn't declare it: no run uses it")
    for field, value in lifted.items():
        if value is not None and form.get(field) is None and declaration.by_key(field) is not None:
            yield Finding(LOSES, field, "has a value, and none any more once the job is read and stored")


def _compared(documents: list[Document], of_what: str) -> Iterator[Finding]:
    """Yield what the same step made otherwise the second time, and what under another clock."""
    first, second, later = documents
    unsteady = _different(first, second)
    for field in unsteady:
        yield Finding(CHANGES, field, f"differs when the code {of_what} runs again on the same document")
    for field in _different(first, later):
        if field not in unsteady:
            yield Finding(CLOCK, field, f"gets another value from the code {of_what} a year later")


def _different(one: Document, other: Document) -> list[str]:
    missing = object()
    return sorted(key for key in one.keys() | other.keys() if one.get(key, missing) != other.get(key, missing))


def _failing(declaration: Declaration, lifted: Document) -> str | None:
    """Return the key of the field that can't be loaded; None if it isn't one alone."""
    for field in declaration.fields.values():
        if field.key not in lifted:
            if field.required:
                return field.key
            continue
        try:
            field.load(lifted[field.key])
        except Exception:  # a field of the user's own may raise anything
            return field.key
    return None


def _reason(error: BaseException, head: Document) -> str:
    """Return the text of an error without the job's uuid, so that those of many jobs are alike."""
    text = str(error) or name_of(type(error))
    if not type(error).__module__.startswith("zerog."):
        text = f"{name_of(type(error))}: {error}"
    uuid = head.get("uuid")
    for words in (f" for job {uuid}", f"job {uuid} of type {head.get('jobType')} ", f"job {uuid} "):
        text = text.replace(words, "" if words.startswith(" ") else "it ")
    return text[:MOST]


def _dropped(path: tuple[str, ...], before: Document, after: Document) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the values that are no longer there, or not the same."""
    for key, value in before.items():
        later = after.get(key)
        if value is None or (key in after and later == value):
            continue
        if isinstance(value, dict) and isinstance(later, dict):
            yield from _dropped((*path, key), value, later)
        else:
            yield (*path, key)


def _at_path(document: Document, path: tuple[str, ...]) -> Any:
    value: Any = document
    for key in path:
        value = value[key]
    return value


def _others(value: Any) -> list[Any]:
    """Return other values of the same kind, and none."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, (int, float)):
        return [value + 1, -value - 1, value * 1000 + 7, None]
    if isinstance(value, str):
        return [value + "x", value[:-1], None]
    return [[*value, None], None] if isinstance(value, list) else [{}, None]
