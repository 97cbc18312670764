"""Find faults in the engine's own documents: workers' records, their directory, the pauses, the sweeper's record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from zerog.contracts.queue import DEFAULT
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument
from zerog.maintenance.error_findings import repeated_errors
from zerog.maintenance.findings import Commands, Finding
from zerog.maintenance.schedule_findings import schedule_findings
from zerog.records.commands import held_in, paused_in
from zerog.records.fields import is_count, is_name, is_timestamp
from zerog.records.job import Document
from zerog.records.keys import QUEUES, SETTINGS, SWEEPER, TYPES, WORKERS
from zerog.records.settings import settings_in
from zerog.records.worker import Record, read_record
from zerog.schemas.findings import Level
from zerog.schemas.stored import StoredSchemas, clashes
from zerog.support.clock import seconds_between, to_text
from zerog.support.jsonvalues import short_repr
from zerog.support.texts import counted

if TYPE_CHECKING:
    from zerog.registry import JobRegistry

NOT_SWEPT = 120.0
"""Seconds since the last sweep after which no process sweeps: twelve times a worker's pause between two."""

SCARCE = 0.8
"""Share of its file descriptors from which on a worker is reported."""

RECORDS = "records of the engine are damaged"


def record_findings(
    engine: Engine,
    registry: JobRegistry,
    workers: dict[str, Record],
    living: Mapping[str, Document],
    zerog: Commands,
) -> Iterator[Finding]:
    """Find faults in the engine's own documents; ``living``: the records of ``workers`` that are not silent."""
    yield from damaged_records(engine, workers, zerog)
    yield from schedule_findings(engine, registry, living, zerog)


def damaged_records(engine: Engine, workers: dict[str, Record], zerog: Commands) -> Iterator[Finding]:
    """Find records that can't be read, or hold fields of the wrong kind; ``workers`` by name."""
    finding = Finding(RECORDS, 0, "a sweep takes out what can't be read", True, command=zerog("reconcile"))
    for name, record in workers.items():
        if record.damage:
            finding.add(f"worker {name}", "; ".join(record.damage))
    for key, field in ((WORKERS, "workers"), (SWEEPER, "beat")):
        fields, damage, _ = read_record(engine.datastore, key)
        if fields is None:
            continue
        stored = fields.get(field)
        if damage or not isinstance(stored, dict if key == WORKERS else int | None):
            finding.add(key, damage[0] if damage else f"{field} is {short_repr(stored)}")
        elif isinstance(stored, dict) and (wrong := [name for name in stored if not is_name(name)]):
            finding.add(key, f"{short_repr(wrong[0])} can't be the name of a worker")
    if finding.count:
        yield finding
    for key, check, what, mend, (command, operand) in _COMMANDS:
        yield from _damaged_commands(
            engine, key, check, f"{what} can't be read", mend, zerog(command, operands=[operand])
        )


_COMMANDS: tuple[tuple[str, Callable[[Document | None], object], str, str, tuple[str, str]], ...] = (
    (QUEUES, paused_in, "which queues are paused", "pause or resume any queue", ("queues resume", DEFAULT)),
    (TYPES, held_in, "which job types are held", "hold or release any type", ("types release", "none")),
    (SETTINGS, settings_in, "the live settings", "set the limits of queues and the roles again", ("roles rm", "none")),
)
"""The documents with operators' commands: how each is checked, what it says, and what makes it anew."""


def _damaged_commands(
    engine: Engine, key: str, check: Callable[[Document | None], object], what: str, mend: str, command: str
) -> Iterator[Finding]:
    fields, damage, _ = read_record(engine.datastore, key)
    try:
        if damage:
            raise CorruptDocument(damage[0])
        check(fields)
    except CorruptDocument as error:
        what = f"{what}, so workers go by what was read last: {error}"
        yield Finding(what, 1, f"{mend}, which makes that document anew", True, command=command)


def about_types(engine: Engine, held: Document, waiting: Mapping[str, int], zerog: Commands) -> Iterator[Finding]:
    """Report the held types, each with the number of examined jobs that wait, and the types that a build has broken."""
    yield from repeated_errors(engine, held, zerog)
    for name, entry in sorted(held.items()):
        words = counted(waiting.get(name, 0), "job waits", "jobs wait")
        by = f" by {entry['by']}" if entry.get("by") else ""
        why = f": {entry['reason']}" if entry.get("reason") else ""
        what = f"the job type {name} is held since {entry.get('since')}{by}{why}; {words}"
        yield Finding(what, 1, "release it in its time", False, command=zerog("types release", operands=[name]))


def missing_sweeps(engine: Engine, zerog: Commands) -> Iterator[Finding]:
    """Find missing sweeps, without which crashes and lost entries are not repaired."""
    swept = (read_record(engine.datastore, SWEEPER).fields or {}).get("sweptAt")
    if not is_timestamp(swept):
        return  # of workers that don't note it yet, or before the first sweep
    since = seconds_between(str(swept), to_text(engine.clock.now()))
    if since > NOT_SWEPT:
        what = f"no process has swept since {swept}, so what crashes leave and queues lose is not repaired"
        command = zerog("reconcile")
        yield Finding(what, 1, "find out from the workers' logs why they don't; sweep by hand", True, command=command)


def few_descriptors(workers: dict[str, Record]) -> Iterator[Finding]:
    """Find workers that are about to reach the limit of their open files, beyond which nothing can be opened."""
    mend = "raise the limit (ulimit -n, LimitNOFILE=) and look for jobs that leave files or connections open"
    finding = Finding("workers have few file descriptors left", 0, mend, True)
    for name, record in workers.items():
        counts = (record.fields or {}).get("descriptors") or {}
        number, limit = (each if is_count(each := counts.get(field)) else 0 for field in ("open", "limit"))
        if limit and number >= SCARCE * limit:
            finding.add(f"worker {name}", f"{number:,} of {limit:,} are open")
    if finding.count:
        yield finding


def two_schemas(engine: Engine) -> Iterator[Finding]:
    """Find types of which two builds have different schemas under one version."""
    for clash in clashes(StoredSchemas(engine).all()):
        mend = "raise SCHEMA_VERSION, and add a migration from it"
        yield Finding(str(clash), 1, mend, clash.finding.level == Level.BREAKS)
