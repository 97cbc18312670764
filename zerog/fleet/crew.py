"""Types and runs of the living workers, by their records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zerog.records.job import Document

Kind = tuple[str, float]


class Crew:
    """Workers that are not silent. ``records``: those of them by name, as returned by ``read_worker``."""

    def __init__(self, records: dict[str, Document]) -> None:
        self._held = {name: record["held"] for name, record in records.items() if record.get("held") is not None}
        self._claiming = {name: record.get("claiming") or "" for name, record in records.items()}
        self._renewed = {name: record.get("renewedAt") or "" for name, record in records.items()}
        serving = [record for record in records.values() if not record.get("drain")]
        self._knows = [(record.get("queues"), _versions(record.get("knows"))) for record in serving]

    def takes(self, head: Document) -> bool | None:
        """Return True if a worker that claims from a job's queue can take its type and version.

        None if no worker claims from there, or one doesn't list the types that it can take.
        """
        knowing = [knows for queues, knows in self._knows if queues is None or head["queueName"] in queues]
        if any(_knows(knows, head) for knows in knowing if knows is not None):
            return True
        return None if not knowing or None in knowing else False

    def newest_version(self, job_type: str) -> float:
        """Return the highest version of a type that a worker takes; 0 if none lists the type."""
        return max((knows.get(job_type, 0.0) for _, knows in self._knows if knows is not None), default=0.0)

    def has_lost(self, head: Document) -> bool:
        """Return True if a running job's owner is alive and does not hold its run.

        Needs records that were read before the head. A worker lists a run, by its nonce or a prefix of that, before it
        claims it, until its end is answered; so no list that is younger than the claim lacks it.
        """
        owner = head["owner"]
        held = self._held.get(owner["worker"])
        if held is None or not str(head.get("startedAt") or "") < self._renewed[owner["worker"]]:
            return False
        nonce, claiming = owner["nonce"], self._claiming[owner["worker"]]
        return nonce not in held and not (claiming and nonce.startswith(claiming))


def _versions(knows: Iterable[list[Any]] | None) -> dict[str, float] | None:
    """Return the highest known version of each type."""
    if knows is None:
        return None
    versions: dict[str, float] = {}
    for job_type, version in knows:
        versions[job_type] = max(version, versions.get(job_type, version))
    return versions


def _knows(versions: dict[str, float], head: Document) -> bool:
    known = versions.get(head["jobType"])
    return known is not None and bool(head["schemaVersion"] <= known)
