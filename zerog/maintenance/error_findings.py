"""Find errors that repeat under one build of the code: what a deploy has broken, or not mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from zerog.contracts.find import NEWEST, FindQuery
from zerog.engine.engine import Engine
from zerog.exceptions import DatastoreError, DatastoreUnavailable
from zerog.maintenance.findings import Commands, Finding, unlistable
from zerog.records.job import FAILED, Document

EXAMINED = 500
"""Failed jobs that are read, the newest ones."""

REPEATED = 3
"""Jobs with the same error under one build from which on it is a finding."""


def repeated_errors(engine: Engine, held: Collection[str], zerog: Commands) -> Iterator[Finding]:
    """Find errors that several jobs ended with, under the build that met them last.

    Jobs without a build or a fingerprint are left out. Raises DatastoreUnavailable.
    """
    if not engine.datastore.can_find_ended:
        return  # which RETAIN's finding names
    groups: dict[tuple[str, str], list[Document]] = defaultdict(list)
    try:
        failed = engine.datastore.find(FindQuery(FAILED, order=NEWEST, limit=EXAMINED)).heads
    except DatastoreUnavailable:
        raise
    except DatastoreError as error:
        yield unlistable("failed jobs", "errors that repeat are not found", error, zerog)
        return
    for head in failed:
        last = head.get("lastError")
        if isinstance(last, dict) and type(last.get("build")) is str and type(last.get("fingerprint")) is str:
            groups[str(head.get("jobType")), last["fingerprint"]].append(head)
    for (job_type, fingerprint), heads in sorted(groups.items()):
        build = max(heads, key=_time)["lastError"]["build"]
        jobs = [head for head in heads if head["lastError"]["build"] == build]
        if len(jobs) >= REPEATED:
            earlier = sorted({str(head["lastError"]["build"]) for head in heads} - {build})
            yield _finding(job_type, fingerprint, build, jobs, earlier, job_type in held, zerog)


def _time(head: Document) -> str:
    return str(head["lastError"].get("timestamp") or "")


def _finding(
    job_type: str,
    fingerprint: str,
    build: str,
    jobs: list[Document],
    earlier: list[str],
    is_held: bool,
    zerog: Commands,
) -> Finding:
    last: dict[str, Any] = jobs[0]["lastError"]
    before = f", as under {', '.join(earlier)} before" if earlier else ""
    kind = last.get("type") or "error"
    what = f"jobs of type {job_type} failed with the same {kind}, under build {build}{before}"
    retry = zerog("jobs retry", "--type", job_type, "--error", fingerprint, "--build", build)
    hold = zerog("types hold", "--reason", f"build {build} fails", operands=[job_type])
    mend = "retry them once a build without the fault runs"
    if not is_held:
        mend = f"hold the type until a build without the fault runs; then retry them: {retry}"
    finding = Finding(what, 0, mend, False, command=retry if is_held else hold)
    for head in jobs:
        finding.add(str(head.get("uuid")), f"{last.get('errorCode')}: {head['lastError'].get('msg')}")
    return finding
