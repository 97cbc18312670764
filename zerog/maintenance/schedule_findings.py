"""Find what is wrong with schedules: what can't run, what differs between builds, what nothing declares any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.maintenance.findings import Commands, Finding
from zerog.records.job import TERMINAL, Document, is_uuid, make_key
from zerog.schedules.record import AHEAD, Schedule
from zerog.schedules.store import ScheduleRecords
from zerog.schedules.timing import LATE, moment_of
from zerog.support.clock import to_text

if TYPE_CHECKING:
    from zerog.registry import JobRegistry

OVERDUE = 2 * LATE
"""How late a tick is that nothing has decided or submitted: a leader works on it within LATE."""


def schedule_findings(
    engine: Engine, registry: JobRegistry, living: Mapping[str, Document], zerog: Commands
) -> Iterator[Finding]:
    """Find faults in schedules; ``living``: the records of living workers by name."""
    schedules, damaged = ScheduleRecords(engine).read_all()
    for name, why in damaged.items():
        mend, command = "store it anew, as the code declares it", zerog("schedules add", operands=[name])
        yield Finding(f"{why}, so it submits nothing", 1, mend, True, command=command)
    declared = _declared(living)
    types = {str(known[0]) for record in living.values() for known in record.get("knows") or () if known}
    types |= registry.get_registered_classes().keys()
    yield from _differing(declared)
    now = engine.now()
    for schedule in schedules:
        if schedule.fields["removed"] is not None:
            continue
        is_of_code = schedule.fields["code"] is not None and not schedule.fields.get("byHand")
        if living and is_of_code and schedule.name not in declared:
            what = f"schedule {schedule.name} comes from code and no living worker declares it; it runs on"
            yield Finding(what, 1, "remove it, or start workers that declare it", False, command=_rm(schedule, zerog))
        if schedule.definition.job_type not in types:
            what = f"schedule {schedule.name} submits jobs of type {schedule.definition.job_type!r}, which no living"
            mend = "start a worker that knows it, or remove the schedule"
            yield Finding(f"{what} worker knows, and not this program", 1, mend, True, command=_rm(schedule, zerog))
        if schedule.is_active:
            yield from _late(engine, schedule, now, zerog)


def _declared(living: Mapping[str, Document]) -> dict[str, dict[str, set[str]]]:
    """Return for each schedule that living workers declare its digests, with the builds that have each."""
    declared: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in living.values():
        for name, digest in (record.get("schedules") or {}).items():
            declared[name][str(digest)].add(str(record.get("build") or "without a name"))
    return declared


def _differing(declared: dict[str, dict[str, set[str]]]) -> Iterator[Finding]:
    for name, digests in sorted(declared.items()):
        if len(digests) > 1:
            builds = " and ".join(sorted(", ".join(sorted(builds)) for builds in digests.values()))
            what = f"living workers declare schedule {name} differently: builds {builds}"
            mend = "that of the worker started last holds; end the deploy, or stop the workers of the old build"
            yield Finding(what, len(digests), mend, False)


def _late(engine: Engine, schedule: Schedule, now: datetime, zerog: Commands) -> Iterator[Finding]:
    name, noted = schedule.name, schedule.noted
    try:
        following = schedule.definition.timing.next_ticks(noted, 1)
    except (ConfigurationError, InvalidValue) as error:
        mend = "mend it where workers run, too"
        yield Finding(f"schedule {name} has no times here: {error}", 1, mend, True)
        return
    if noted > now + AHEAD:
        what = f"schedule {name} submits nothing until {to_text(noted)}, to which a clock that was wrong has set it"
        command = zerog("schedules pause", operands=[name])
        yield Finding(what, 1, "set the clocks, then pause and resume it", True, command=command)
    elif following and following[0] < now - OVERDUE:
        yield _overdue(schedule, to_text(following[0]), zerog)
    waiting = schedule.waiting
    if waiting and moment_of(waiting[0]) < now - OVERDUE and not _is_active(engine, schedule.fields["lastJob"]):
        yield _overdue(schedule, waiting[0], zerog)


def _overdue(schedule: Schedule, tick: str, zerog: Commands) -> Finding:
    what = f"no worker has submitted the job of schedule {schedule.name} for {tick}"
    mend = "start a worker, or find the reason in the log of the one that sweeps"
    return Finding(what, 1, mend, True, command=zerog("schedules show", operands=[schedule.name]))


def _is_active(engine: Engine, uuid: Any) -> bool:
    if not is_uuid(uuid):
        return False
    head = engine.datastore.read_heads([make_key(uuid)])[0].get(make_key(uuid))
    return head is not None and head.get("status") not in TERMINAL


def _rm(schedule: Schedule, zerog: Commands) -> str:
    return zerog("schedules rm", operands=[schedule.name])
