"""Compare two sets of described types, by role and field.

``old`` is what runs now, ``new`` what is to be deployed. Four meetings are possible: new workers read old documents,
old workers meet new documents, and callers of either side submit to code of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zerog.schemas import samples
from zerog.schemas.callers import new_callers, old_callers
from zerog.schemas.describe import Described
from zerog.schemas.documents import attributes, merged, new_workers, old_workers
from zerog.schemas.findings import DOCUMENTS, TWO_DEPLOYS, Finding, Level, safe_order, worst
from zerog.schemas.stub import stub

Lift = Callable[[dict[str, Any]], tuple[str | None, list[str]]]
"""Migrates and loads a document by the real class: returns why it fails, or None, and what stays undeclared."""

MOST_DOCUMENTS = 300
"""Example documents that are sent through migrations, of each old version."""


@dataclass
class Comparison:
    """What was found about one type."""

    job_type: str
    old: float | None
    new: float | None
    findings: list[Finding] = field(default_factory=list)
    stub: str | None = None
    """The migration that is missing, as Python."""

    @property
    def level(self) -> Level:
        """The gravest level."""
        return worst(self.findings)

    @property
    def order(self) -> str | None:
        """The order of a deploy that is safe, None if any is, or none."""
        return safe_order(self.findings)


def compare(
    old: Iterable[Described], new: Iterable[Described], lifts: Mapping[str, Lift] | None = None
) -> list[Comparison]:
    """Compare what runs now with what is to be deployed, by type.

    Of a type that ``old`` has in several versions, documents of each are read, and the highest is what runs now.
    ``lifts`` has the migrations and loads of the new classes, by type; without them migrations aren't tried.
    """
    before: dict[str, dict[float, Described]] = {}
    for one in old:
        before.setdefault(one["jobType"], {})[one["schemaVersion"]] = one
    after = {one["jobType"]: one for one in new}
    return [
        _compare_type(name, before.get(name, {}), after.get(name), (lifts or {}).get(name))
        for name in sorted(before.keys() | after.keys())
    ]


def _compare_type(name: str, old: dict[float, Described], new: Described | None, lift: Lift | None) -> Comparison:
    latest = max(old, default=None)
    result = Comparison(name, latest, None if new is None else new["schemaVersion"])
    if new is None:
        assert latest is not None
        what = (
            "the type is gone: its jobs would wait for ever. First deploy code that no longer submits it; remove the "
            "class once no unfinished job has it (zerog jobs ls --type)"
        )
        result.findings.append(Finding(name, latest, DOCUMENTS, Level.ORDER, None, what, TWO_DEPLOYS))
        return result
    if latest is None:
        what = "a new type: its jobs wait for workers that have it"
        result.findings.append(Finding(name, new["schemaVersion"], DOCUMENTS, Level.NOTE, None, what))
        return result
    for version in sorted(old):
        result.findings += _read_old(old[version], new, lift)
    if latest != new["schemaVersion"]:
        result.findings += attributes(old[latest], new)
    result.findings += [*old_workers(old[latest], new), *old_callers(old[latest], new), *new_callers(old[latest], new)]
    broken = [one for one in result.findings if one.level == Level.BREAKS and one.role == DOCUMENTS]
    if broken and all(version <= new["schemaVersion"] for version in old):
        result.stub = stub(old[min(one.version for one in broken)], new)
    return result


def _read_old(old: Described, new: Described, lift: Lift | None) -> list[Finding]:
    """Return what new workers make of documents of one old version."""
    start, end = old["schemaVersion"], new["schemaVersion"]

    def found(level: Level, what: str, example: dict[str, Any] | None = None) -> list[Finding]:
        return [Finding(new["jobType"], start, DOCUMENTS, level, None, what, None, example)]

    if start == end:
        return new_workers(old, new)
    if start > end:
        what = f"the new code is at SCHEMA_VERSION {end}: it leaves documents of version {start} alone, for ever"
        return found(Level.BREAKS, what, _document(old, samples.example(merged(old)) or {}))
    if not _leads(new["migrations"], start, end):
        what = f"no migration leads from version {start} to {end}: its documents can't be read"
        return found(Level.BREAKS, what, _document(old, samples.example(merged(old)) or {}))
    if lift is None:
        return found(Level.NOTE, f"migrations lead from version {start} to {end}; they were not tried")
    return _lifted(old, new, lift, found)


def _lifted(old: Described, new: Described, lift: Lift, found: Callable[..., list[Finding]]) -> list[Finding]:
    count, left = 0, set[str]()
    whole = merged(old)
    for fields in samples.objects(whole, merged(new)):
        if count == MOST_DOCUMENTS:
            break
        document = _document(old, fields)
        problem, undeclared = lift(document)
        if problem:
            return found(Level.BREAKS, f"a document of version {old['schemaVersion']} fails: {problem}", document)
        count, left = count + 1, left | set(undeclared)
    start, end = old["schemaVersion"], new["schemaVersion"]
    what = f"{count} example documents of version {start} were migrated to {end} and read"
    notes = found(Level.NOTE, what)
    for key in sorted(left):
        notes += found(Level.NOTE, f"{key} stays in migrated documents, where no run uses it")
    hidden = samples.unknown(whole)
    if hidden:
        what = f"no example of {', '.join(hidden)} could be made, so that the migration was tried without any"
        notes += found(Level.UNSURE, f"{what}: try it with stored documents")
    return notes


def _leads(migrations: list[list[float]], start: float, end: float) -> bool:
    steps: dict[float, float] = {step[0]: step[1] for step in migrations}
    while start != end and start in steps:
        start = steps[start]
    return start == end


def _document(old: Described, fields: dict[str, Any]) -> dict[str, Any]:
    return {"jobType": old["jobType"], "schemaVersion": old["schemaVersion"], **fields}
