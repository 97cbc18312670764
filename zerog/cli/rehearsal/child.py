"""The process that has the code to be tried: ``python -m zerog.cli.rehearsal.child MODULE:APP DESCRIPTOR NOW``.

It gets a document in each message and answers what is wrong with it. Its app has parts in memory, so that no code of
the application reaches the real ones through it.
"""

from __future__ import annotations

import json
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

import time_machine

from zerog.backends.urls import open_engine
from zerog.exceptions import UnknownJobType
from zerog.jobs.declaration import declaration_of
from zerog.jobs.rehearsal import FAILS, LOSES, Finding, Rehearsal
from zerog.loading import load_app
from zerog.records.job import Document
from zerog.registry import JobRegistry
from zerog.support.texts import name_of

STDOUT = 1


def main() -> None:
    """Answer until the other end closes."""
    target, descriptor, now = sys.argv[1:]
    messages = Connection(int(descriptor))
    try:
        app = load_app(target)
        app.close()
        app.engine = open_engine("memory://", None)
    except BaseException as error:  # a module may raise anything, SystemExit too
        _send(messages, {"error": f"{error}" or name_of(type(error)), "notes": getattr(error, "__notes__", [])})
        return
    rehearsal = Rehearsal(lambda moment: time_machine.travel(moment, tick=False), float(now))
    _send(messages, {"error": None})
    _printed()
    while True:
        try:
            head, with_losses = json.loads(messages.recv_bytes())
        except EOFError:
            return
        _answer(messages, rehearsal, app.registry, head, with_losses)


def _answer(
    messages: Connection, rehearsal: Rehearsal, registry: JobRegistry, head: Document, with_losses: bool
) -> None:
    """Send what is wrong with a document, and then, if it was lifted and that is wanted, what was lost by that."""
    is_known = str(head.get("jobType")) in registry.get_registered_classes()
    job_class = registry.class_for(head) if is_known else None
    is_current = job_class is not None and head.get("schemaVersion") == declaration_of(job_class).version
    findings = _judged(rehearsal, registry, head)
    goes_on = (
        with_losses and job_class is not None and not is_current and all(finding.kind == LOSES for finding in findings)
    )
    answer = {"findings": findings, "printed": _printed(), "isCurrent": is_current, "goesOn": goes_on}
    _send(messages, answer)
    if goes_on:
        assert job_class is not None
        _send(messages, {"findings": list(rehearsal.losses(job_class, head))})
        _printed()


def _judged(rehearsal: Rehearsal, registry: JobRegistry, head: Document) -> list[Finding]:
    try:
        return rehearsal.judge(registry.class_for(head), head)
    except UnknownJobType as error:
        return [Finding(FAILS, None, str(error))]
    except BaseException as error:  # of the user's code: KeyboardInterrupt, and what is no Exception
        return [Finding(FAILS, None, f"{name_of(type(error))}: {error}")]


def _printed() -> int:
    """Return how many bytes were written to standard output since the last call."""
    try:
        sys.stdout.flush()
        size = os.fstat(STDOUT).st_size
        if size:
            os.ftruncate(STDOUT, 0)
    except (OSError, ValueError):  # the code has closed it
        return 0
    return size


def _send(messages: Connection, message: dict[str, Any]) -> None:
    messages.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main()
