"""Take the runs of a worker that is known to be gone, or undo the count of a rescue once the worker has returned."""

from __future__ import annotations

import logging
from typing import Any

from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.engine import transitions
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.fleet.heartbeat import WorkerRecords
from zerog.fleet.process_identity import is_gone
from zerog.maintenance.sweep import is_usable
from zerog.records.commands import STOPPING
from zerog.records.job import RUNNING, TERMINAL, Document, check_head, check_layout, make_key
from zerog.records.operations import Add, Append, Max, Operation
from zerog.records.worker import read_worker
from zerog.support.clock import to_text
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")


def bury(engine: Engine, worker: str, was_stopping: bool) -> list[str]:
    """Let the jobs of a worker run again whose process is known to be dead, and remove its record; return their uuids.

    They count as ``lost`` unless the worker ``was_stopping``. Raises the errors of the datastore.
    """
    if not engine.datastore.can_find:
        return []
    why = f"the process of worker {worker} is gone"
    taken = []
    for head in reversed(_owned_by(engine, worker)):  # each is put ahead of all that wait, so the last one first
        uuid, run = head["uuid"], RunGuard.of(head)
        try:
            is_taken = engine.release(uuid, run, why) if was_stopping else engine.rescue(uuid, run, "lost", why)
        except LEAVE_ALONE as error:
            engine.set_aside(uuid, error, "sweep.left")
            continue
        taken += [uuid] * is_taken
    WorkerRecords(engine).forget(worker)
    return taken


def bury_if_gone(engine: Engine, name: str) -> None:
    """Let the jobs of a worker run again if its process ran on this host and is gone.

    Raises the errors of the datastore.
    """
    record = read_worker(engine.datastore, name).fields or {}
    if is_gone(record.get("process")):
        bury(engine, name, record.get("state") == STOPPING)


def _owned_by(engine: Engine, worker: str) -> list[Document]:
    owned: list[Document] = []
    after: str | None = None
    while True:
        page = engine.datastore.find(FindQuery(status=RUNNING, after=after))
        heads = [head for head in page.heads if is_usable(engine, head)]
        owned += [head for head in heads if head["owner"]["worker"] == worker]
        after = page.after
        if after is None:
            return owned


def take_back(engine: Engine, uuid: str, nonce: str, why: str) -> bool:
    """Undo the ``lost`` count of a rescue of this run, once; return True if it did.

    Left alone: a job that has ended, and a run that was not rescued. Raises CorruptDocument, SchemaTooNew, and the
    errors of the datastore.
    """
    datastore, key = engine.datastore, make_key(uuid)
    attempts = Attempts(datastore, key, engine.clock)
    while True:
        document, token = datastore.read_with_cas(key)
        if document is None or token is None or document.get("status") in TERMINAL:
            return False
        check_head(key, document)
        check_layout(document)
        if not _names(document.get("errors"), nonce) or _names(document.get("events"), nonce):
            return False
        now = transitions.stamp(document, to_text(engine.clock.now()))
        event = transitions.event_record(now, why, run=nonce)
        change: list[Operation] = [
            Add("lost", -1, low=0),
            Append("events", event, engine.kept(document)),
            Max("updatedAt", now),
        ]
        with attempts:  # the event shows whether an unanswered write is stored
            failpoint("loss.write")
            datastore.mutate(key, change, cas=token)
            failpoint("loss.written")
            log.info("job %s: %s", uuid, why)
            return True


def _names(entries: Any, nonce: str) -> bool:
    """Return True if one of these entries of a history is about this run."""
    listed = entries if isinstance(entries, list) else []
    return any(isinstance(entry, dict) and entry.get("run") == nonce for entry in listed)
