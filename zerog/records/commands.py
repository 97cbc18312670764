"""Operators' commands to workers, stored in three documents that each worker polls about once a second.

A worker's own record (``zerog_worker_<name>``) holds whether it is drained (``drain``) and which of its jobs were
cancelled or paused (``cancels``, oldest first, the latest CANCELS of them, each as ``run_name`` or ``pause_name``). One
document for all lists the paused queues, another one the held job types.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zerog.exceptions import CorruptDocument
from zerog.records.fields import is_name
from zerog.records.job import Document
from zerog.records.keys import QUEUES, TYPES
from zerog.records.operations import dropped_field
from zerog.support import jsonvalues

ALL = "*"
"""In place of a queue's name in the document of the paused queues: every queue is paused."""

RUNNING, DRAINING, DRAINED, STOPPING, SILENT = STATES = ("running", "draining", "drained", "stopping", "silent")
"""The states of a worker: claims jobs; claims none and still runs some; runs none; ends; was silent for its lease."""

CANCELS = 100
"""Cancelled jobs that a worker's record lists at most; the jobs' own documents show the rest."""


class Stop(Enum):
    """Why a run is to stop."""

    CANCEL = "cancelled"
    PAUSE = "paused"


@dataclass(frozen=True)
class WorkerCommands:
    """The commands in effect for one worker."""

    drain: Document | None = None
    """Since when, by whom, and whether it is permanent; None while the worker may claim jobs."""
    paused: frozenset[str] = frozenset()
    """The queues that no worker may claim from; ALL stands for each."""

    held: frozenset[str] = frozenset()
    """The job types of which no worker may claim jobs."""

    queues: tuple[str, ...] | None = None
    """The queues of the worker's role, in order; None if it has no role, or nothing is set for that yet."""

    def is_paused(self, queue: str) -> bool:
        """True if no worker may claim from a queue."""
        return queue in self.paused or ALL in self.paused

    @property
    def is_for_good(self) -> bool:
        """True if the worker ends once its jobs have."""
        return self.drain is not None and self.drain.get("forGood") is True


def drain_in(record: Document) -> Document | None:
    """Return the drain command in a worker's record. Raises CorruptDocument."""
    drain = record.get("drain")
    if drain is not None and type(drain) is not dict:
        raise CorruptDocument(
            f"the worker's record holds drain={jsonvalues.short_repr(drain)}, expected an object or null"
        )
    return drain


def run_name(uuid: str, epoch: int) -> str:
    """Return one run of one job as a text; a later run of the same job has another one."""
    return f"{uuid} {epoch}"


def pause_name(uuid: str, epoch: int) -> str:
    """Return the text that asks one run of one job to stop since the job is paused."""
    return f"{run_name(uuid, epoch)} pause"


def cancels_in(record: Document, seen: int) -> tuple[list[str], int]:
    """Return the texts of the runs added to a worker's record since ``seen`` had been added, and their total so far."""
    listed = record.get("cancels") or []
    dropped = record.get(dropped_field("cancels")) or 0
    if type(listed) is not list or type(dropped) is not int:
        raise CorruptDocument(
            f"the worker's record holds cancels={jsonvalues.short_repr(listed)}, expected a list of runs"
        )
    total = dropped + len(listed)
    new = total if seen > total else total - seen  # fewer than before: the record was made anew
    return [str(uuid) for uuid in listed[-new:]] if new else [], total


def paused_in(record: Document | None) -> Document:
    """Return the paused queues by name: since when, by whom and why. Raises CorruptDocument."""
    paused = (record or {}).get("paused") or {}
    if type(paused) is not dict:
        raise CorruptDocument(f"{QUEUES} holds paused={jsonvalues.short_repr(paused)}, expected an object by queue")
    return {name: entry if type(entry) is dict else {} for name, entry in paused.items() if is_name(name)}


def held_in(record: Document | None) -> Document:
    """Return the held job types by name: since when, by whom and why. Raises CorruptDocument."""
    held = (record or {}).get("held") or {}
    if type(held) is not dict:
        raise CorruptDocument(f"{TYPES} holds held={jsonvalues.short_repr(held)}, expected an object by job type")
    return {name: entry if type(entry) is dict else {} for name, entry in held.items() if is_name(name)}
