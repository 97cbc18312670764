"""The child process of a slot: takes one job at a time from its worker, runs it and sends back the outcome.

A run leaves no process behind: the child adopts, kills and reaps what the job started before it sends the outcome, and
is itself replaced if the job changed something about it that the next job would notice.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from zerog.contracts.datastore import RunGuard
from zerog.engine.run import Run
from zerog.exceptions import DatastoreError
from zerog.jobs.base import BaseJob
from zerog.jobs.limits import run_limits_of
from zerog.jobs.load import Loaded, read_head
from zerog.worker.execute import run_loaded
from zerog.worker.executors import cleanup
from zerog.worker.executors.interrupts import Interrupts
from zerog.worker.executors.slots import only_here
from zerog.worker.outcome import LOST, Outcome
from zerog.worker.signal_thread import STOPS

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

CLOSE_SECONDS = 3.0
"""Seconds that an idle child may take to close its resources."""

_encode = json.dumps  # kept here in case a job patches the module


def child_main(app: App) -> Callable[[socket.socket], None]:
    """Return the main function of a forked child, which takes jobs from the socket until it closes."""
    return lambda connection: _Child(app, connection).live()


class _Child:
    def __init__(self, app: App, connection: socket.socket) -> None:
        self._app = app
        self._connection = connection
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._stopping = threading.Event()
        self._interrupts = Interrupts()
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._idle, self._closed = threading.Event(), threading.Event()

    def live(self) -> None:
        """Run jobs until the worker closes the connection. Never returns."""
        _renew_seed()
        threading.Thread(target=self._listen, name="zerog-worker-link", daemon=True).start()
        cleanup.adopt_orphans()
        pid = os.getpid()
        as_it_was = cleanup.process_state()
        self._idle.set()
        while True:
            request = self._requests.get()
            self._idle.clear()
            if request is None:
                self._app.resources.close()
                for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
                    with suppress(Exception):  # closed by a job, or its reader is gone
                        flush()
                self._closed.set()
                continue
            if request["stopping"]:
                self._stopping.set()
            outcome = self._run(request)
            if os.getpid() != pid:
                os._exit(0)  # a copy that the job forked returned from run(), too: there is one outcome, not two
            answer = {**_answer(outcome, as_it_was), "interrupted": self._interrupts.has_raised}
            self._idle.set()  # before the answer, after which the worker may end this child
            self._send(answer)

    def _listen(self) -> None:
        for message in _messages(self._connection):
            if "stop" in message:
                self._stopping.set()
            elif "cancel" in message:
                self._interrupts.cancel(message["cancel"], message["is_pause"])
            else:
                self._requests.put(message)
        # The worker is gone or done with this child; what a running job has started is killed, too.
        if self._idle.is_set() and self._requests.empty():
            self._requests.put(None)
            self._closed.wait(CLOSE_SECONDS)
        os.killpg(0, signal.SIGKILL)

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(_encode(message).encode() + b"\n")

    def _run(self, request: dict[str, Any]) -> Outcome | None:
        """Run the requested job and return the outcome, None if its document can't be read now."""
        try:
            found = self._load(request)
        except DatastoreError as error:
            log.warning("job %s could not be read in its process, and is given back: %s", request["run"], error)
            return None
        except Exception:
            log.exception("job %s could not be read in its process", request["run"])
            return Outcome("claim lost", LOST)
        if found is None:
            return Outcome("claim lost", LOST)
        job_class, loaded, token, run = found
        self._send({"began": True})  # from here on the worker counts the death of this process as the job's crash
        with self._interrupts.during(run, request["nonce"]):
            return run_loaded(self._app, job_class, loaded, token, only_here(run))

    def _load(self, request: dict[str, Any]) -> tuple[type[BaseJob], Loaded, int, Run] | None:
        """Return the requested job and the right to write to it; None if its document names another run."""
        app = self._app
        head, token = app.engine.read(request["run"])
        name = RunGuard(request["epoch"], request["nonce"])
        if not name.owns(head):
            return None
        key = f"{head['documentType']}_{head['uuid']}"
        job_class = app.registry.class_for(head)
        patience = request["lease"] * 2 / 3
        place_and_numbers = app.engine.datastore, key, name, head["seq"]
        limit, build = run_limits_of(job_class, head).soft_timeout, app.build_id
        run = Run(*place_and_numbers, patience, app.clock, self._stopping, build=build, soft_limit=limit)
        return job_class, read_head(job_class, head), token, run


def _renew_seed() -> None:
    """Give numpy's own random numbers a seed of this process, as Python does for ``random``: children are copies."""
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()


def _answer(outcome: Outcome | None, as_it_was: dict[str, Any]) -> dict[str, Any]:
    """End the processes that the job left behind, and return the outcome with all that was left."""
    left = ["processes"] if cleanup.end_children() else []
    as_it_is = cleanup.process_state()
    left += [f"a changed {name}" for name, value in as_it_was.items() if as_it_is[name] != value]
    ended = None if outcome is None else outcome.to_json()
    return {"outcome": ended, "left": ", ".join(left), "memory": cleanup.resident_memory()}


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with suppress(OSError), connection.makefile("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)
