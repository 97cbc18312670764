"""What a rehearsal found, by type and version, and by kind of finding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from zerog.cli.rehearsal.candidate import Group, Judgement, group_of
from zerog.jobs.rehearsal import CHANGES, CLOCK, FAILS, LOSES, Finding
from zerog.records.job import Document

NAMED = 5
"""Jobs that a finding names."""

WORDS = {
    FAILS: ("can't be read", "can't be read"),
    LOSES: ("loses a value", "lose a value"),
    CHANGES: ("isn't the same twice", "aren't the same twice"),
    CLOCK: ("depends on the clock", "depend on the clock"),
}
"""The verdicts, as words about one document and about several."""

_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|\d+(?:\.\d+)?")
"""What differs between the reasons of documents with the same fault."""


class Found:
    """A finding, and the documents that have it."""

    def __init__(self, group: Group, finding: Finding) -> None:
        self.group = group
        self.finding = finding
        self.count = 0
        self.uuids: list[str] = []

    def add(self, uuid: str) -> None:
        """Count a document."""
        self.count += 1
        if len(self.uuids) < NAMED:
            self.uuids.append(uuid)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        (job_type, version), (kind, field, reason) = self.group, self.finding
        named = {"jobType": job_type, "schemaVersion": version, "kind": kind, "field": field, "reason": reason}
        return {**named, "count": self.count, "uuids": self.uuids}


class Report:
    """Adds up judgements. ``dropped``: the fields that are meant to lose their values, each alone or as TYPE.FIELD."""

    def __init__(self, dropped: tuple[str, ...] = ()) -> None:
        self.groups: dict[Group, Counter[str]] = {}
        """By type and version, the numbers of documents that fit, migrate, fail, and more."""
        self.found: dict[tuple[Any, ...], Found] = {}
        self._dropped = frozenset(dropped)

    @property
    def documents(self) -> int:
        """How many were tried."""
        return sum(counts["documents"] for counts in self.groups.values())

    @property
    def is_clean(self) -> bool:
        """True if nothing was found."""
        return not self.found and not any(counts["untried"] for counts in self.groups.values())

    def add(self, head: Document, judgement: Judgement) -> None:
        """Count a document."""
        group = group_of(head)
        counts = self.groups.setdefault(group, Counter())
        if not judgement.is_tried:
            counts["untried"] += 1
            return
        findings = [each for each in judgement.findings if not self._is_meant(group[0], each)]
        counts["documents"] += 1
        if any(each.kind == FAILS for each in findings):
            counts["fails"] += 1
        else:
            counts["fits" if judgement.is_current else "migrates"] += 1
        counts["printed"] += bool(judgement.printed)
        for finding in findings:
            key = group, finding.kind, finding.field, _DETAIL.sub("", finding.reason)
            self.found.setdefault(key, Found(group, finding)).add(str(head.get("uuid")))

    def _is_meant(self, job_type: str, finding: Finding) -> bool:
        names = {finding.field, f"{job_type}.{finding.field}"}
        return finding.kind == LOSES and bool(names & self._dropped)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        keys = ("documents", "fits", "migrates", "fails", "untried", "printed")
        types = [
            {"jobType": job_type, "schemaVersion": version, **{key: counts[key] for key in keys}}
            for (job_type, version), counts in sorted(self.groups.items())
        ]
        return {"documents": self.documents, "types": types, "findings": [each.to_json() for each in self.sorted()]}

    def sorted(self) -> list[Found]:
        """Return the findings by type, version and kind."""
        order = list(WORDS)
        return sorted(self.found.values(), key=lambda each: (each.group, order.index(each.finding.kind), -each.count))

    def lines(self) -> Iterator[tuple[bool, str]]:
        """Yield the findings as texts, each after whether it is a line below another one."""
        for each in self.sorted():
            kind, field, reason = each.finding
            words = WORDS[kind][each.count != 1]
            what = reason if kind == FAILS else f"{field} {reason}"
            yield False, f"{each.group[0]} {each.group[1]}: {each.count:,} {words}: {what}"
            for uuid in each.uuids:
                yield True, uuid
            if each.count > len(each.uuids):
                yield True, f"and {each.count - len(each.uuids):,} more"
        for (job_type, version), counts in sorted(self.groups.items()):
            if counts["untried"]:
                yield False, f"{job_type} {version}: {counts['untried']:,} weren't tried, after what others had done"
            if counts["printed"]:
                yield (
                    False,
                    f"{job_type} {version}: the code prints to standard output, for {counts['printed']:,} of them",
                )
