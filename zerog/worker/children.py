"""The process executor: each slot has a child process that runs its jobs, one at a time.

The child alone writes to the document while ``run()`` runs; then it hands back the outcome with the number of its
last write, and the worker settles. A child that dies is noticed by its socket closing, and its job is rescued at
once. Children exit when the worker's end of the socket closes, whatever they are doing.

A run leaves no process behind: the child adopts, kills and reaps what the job started before it tells the outcome, and
is itself replaced if the job changed something about it that the next job would notice.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from zerog.datastores.base import RunGuard
from zerog.exceptions import ZerogError
from zerog.jobs.base import read_head
from zerog.jobs.run import Run
from zerog.transitions import Claim
from zerog.worker import leftovers
from zerog.worker.execute import run_loaded
from zerog.worker.interrupts import Interrupts
from zerog.worker.nursery import Nursery, describe, kill_group
from zerog.worker.outcome import LOST, Outcome, not_begun
from zerog.worker.overrun import take_overrun
from zerog.worker.slots import GIVE_UP_PAUSE, Done, Due, Slots, only_here

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.clock import Clock

log = logging.getLogger("zerog")

JOBS_PER_CHILD = 100
"""Jobs after which a child is replaced, so that what they leaked returns to the system."""

_encode = json.dumps  # whatever a job makes of the module

CLOSE_SECONDS = 3.0
"""How long idle children may take to close their resources."""

DEATH_SECONDS = 2.0
"""How long a child whose socket closed may take to end by itself; then it is killed."""


class ProcessSlots(Slots):
    """Has each job run in the slot's child process."""

    def __init__(
        self,
        app: App,
        count: int,
        lease: float,
        done: Done,
        clock: Clock,
        nursery: Nursery,
        max_jobs: int = JOBS_PER_CHILD,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(app, count, lease, done, clock)
        self._nursery = nursery
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._local = threading.local()
        self._lock = threading.Lock()
        self._children: set[_Child] = set()

    def stop(self) -> None:
        super().stop()
        for child in self._all():
            child.tell({"stop": True})

    def memory(self) -> int:
        return super().memory() + sum(leftovers.resident_memory(child.pid) for child in self._all())

    def broken(self) -> str | None:
        return "the process that forks children is gone" if self._nursery.is_gone else None

    def _stop_run(self, claim: Claim, why: str) -> None:
        for child in self._all():
            if child.nonce == claim.nonce:
                child.kill()

    def _cancel_run(self, claim: Claim) -> None:
        for child in self._all():
            if child.nonce == claim.nonce:
                child.tell({"cancel": claim.nonce})

    def _end_from_outside(self, due: Due) -> None:
        self._ended_outside[due.claim.nonce] = due.write  # the slot takes the job away once its child is dead
        self._stop_run(due.claim, due.why)

    def close(self) -> None:
        super().close()
        children = self._all()
        for child in children:
            child.end()
        if self.app.resources:
            deadline = self.clock.monotonic() + CLOSE_SECONDS
            for child in children:
                if child.nonce is None:
                    self._nursery.how_it_ended(child.pid, max(0.0, deadline - self.clock.monotonic()))
        self._nursery.close()

    def _all(self) -> list[_Child]:
        with self._lock:
            return list(self._children)

    def _run(self, claim: Claim) -> Outcome | None:
        try:
            child = self._child()
        except ZerogError:  # the run has not begun, and the worker ends
            return not_begun(claim)
        except OSError as error:  # no descriptor, no process is free: no fault of the job's
            log.error("no process could be started for job %s, which is given back: %s", claim.uuid, error)
            return not_begun(claim, GIVE_UP_PAUSE)
        timeout = claim.loaded[0].TIMEOUT
        child.nonce = claim.nonce
        try:
            request = {
                "run": claim.uuid,
                "epoch": claim.epoch,
                "nonce": claim.nonce,
                "lease": self.lease,
                "stopping": self.stopping.is_set(),
            }
            if child.tell(request):
                self._tell_if_cancelled(claim)
                answer = child.answer(timeout)
                if answer is not None:
                    child.fit = self._is_fit(claim, child, answer)
                    return Outcome.from_json(answer["outcome"])
        except TimeoutError:
            child.kill()
            self._forget(child)
            self._nursery.how_it_ended(child.pid, DEATH_SECONDS)  # with all that it had started
            message = f"the run took longer than its TIMEOUT of {timeout} s and was killed"
            self._until_answered(partial(take_overrun, self.app, claim, message))
            return None
        finally:
            child.nonce = None
        outcome = self._died(claim, child)
        self._forget(child)
        return outcome

    def _child(self) -> _Child:
        """This slot's child, a new one if it has none or it has done its share."""
        child: _Child | None = getattr(self._local, "child", None)
        if child is not None and child.fit and not child.killed:
            child.jobs += 1
            return child
        if child is not None:
            self._forget(child)
            if self.app.resources:
                self._nursery.how_it_ended(child.pid, CLOSE_SECONDS)
        child = self._local.child = _Child(self._nursery)
        with self._lock:
            self._children.add(child)
        return child

    def _forget(self, child: _Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.end()
        self._local.child = None

    def _is_fit(self, claim: Claim, child: _Child, answer: dict[str, Any]) -> bool:
        """Whether the child can take another job after this one."""
        if answer["left"]:
            log.warning("job %s left %s; its process is replaced", claim.uuid, answer["left"])
            return False
        if answer["interrupted"]:
            log.debug("process %d is replaced: a run was interrupted in it", child.pid)
            return False
        if self._max_memory is not None and answer["memory"] > self._max_memory:
            log.info("process %d is replaced: it holds %d MiB", child.pid, answer["memory"] >> 20)
            return False
        return child.jobs < self._max_jobs

    def _died(self, claim: Claim, child: _Child) -> Outcome | None:
        status = self._nursery.how_it_ended(child.pid, DEATH_SECONDS)
        if status is None:
            kill_group(child.pid)
            message = "the process that ran the job closed its connection to the worker, and was killed"
            self._nursery.how_it_ended(child.pid, DEATH_SECONDS)
        else:
            message = f"the process that ran the job died: {describe(status)}"
        if (write := self._ended_outside.get(claim.nonce)) is not None:
            self._until_answered(write)
            return None
        if child.killed or self._is_abandoned(claim):
            return Outcome("claim lost", LOST)
        self._until_answered(partial(self.app.engine.rescue, claim.uuid, claim.run, "crashes", message))
        return None


class _Child:
    """The worker's side of one child process."""

    def __init__(self, nursery: Nursery) -> None:
        self.pid, self._socket = nursery.fork()
        self._lines = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self.jobs = 1
        self.nonce: str | None = None
        """Of the claim that it runs now."""
        self.killed = False
        self.fit = True
        """Whether it can take another job."""

    def tell(self, message: dict[str, Any]) -> bool:
        """Send a message; False if the child is gone."""
        try:
            with self._sending:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            return True
        except OSError:
            self.fit = False
            return False

    def answer(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message of the child, None if it is gone. Raises TimeoutError."""
        try:
            self._socket.settimeout(timeout)
            line = self._lines.readline()
            self._socket.settimeout(None)
        except TimeoutError:
            self.fit = False
            raise
        except (OSError, ValueError):  # of a connection that has been closed here
            line = b""
        if not line.endswith(b"\n"):
            self.fit = False
            return None
        return json.loads(line)  # type: ignore[no-any-return]

    def kill(self) -> None:
        """Kill the child and everything it started."""
        self.killed = True
        kill_group(self.pid)

    def end(self) -> None:
        """Close the socket, at which the child exits."""
        self.fit = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which ends a read that another thread waits in
        self._lines.close()
        self._socket.close()


def child_main(app: App) -> Callable[[socket.socket], None]:
    """What a forked child does: take jobs from the socket until it closes."""

    def live(connection: socket.socket) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stopping = threading.Event()
        interrupts = Interrupts()
        requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        idle, closed = threading.Event(), threading.Event()

        def listen() -> None:
            for message in _messages(connection):
                if "stop" in message:
                    stopping.set()
                elif "cancel" in message:
                    interrupts.cancel(message["cancel"])
                else:
                    requests.put(message)
            # The worker is gone or done with this child; what a running job has started goes, too.
            if idle.is_set() and requests.empty():
                requests.put(None)
                closed.wait(CLOSE_SECONDS)
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=listen, name="zerog-worker-link", daemon=True).start()
        leftovers.adopt_orphans()
        pid = os.getpid()
        as_it_was = leftovers.process_state()
        idle.set()
        while True:
            request = requests.get()
            idle.clear()
            if request is None:
                app.resources.close()
                closed.set()
                continue
            if request["stopping"]:
                stopping.set()
            outcome = _run_request(app, request, stopping, interrupts)
            if os.getpid() != pid:
                os._exit(0)  # a copy that the job forked came back from run(), too: there is one outcome, not two
            answer = {**_answer(outcome, as_it_was), "interrupted": interrupts.has_raised}
            idle.set()  # before the answer, after which the worker may end this child
            connection.sendall(_encode(answer).encode() + b"\n")

    return live


def _answer(outcome: Outcome, as_it_was: dict[str, Any]) -> dict[str, Any]:
    """The outcome with what the job left behind, once all processes among that are gone."""
    left = ["processes"] if leftovers.end_children() else []
    as_it_is = leftovers.process_state()
    left += [f"a changed {name}" for name, value in as_it_was.items() if as_it_is[name] != value]
    return {"outcome": outcome.to_json(), "left": ", ".join(left), "memory": leftovers.resident_memory()}


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with suppress(OSError), connection.makefile("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _run_request(app: App, request: dict[str, Any], stopping: threading.Event, interrupts: Interrupts) -> Outcome:
    try:
        return _load_and_run(app, request, stopping, interrupts)
    except Exception:
        log.exception("job %s could not be read in the child", request["run"])
        return Outcome("claim lost", LOST)


def _load_and_run(app: App, request: dict[str, Any], stopping: threading.Event, interrupts: Interrupts) -> Outcome:
    head, token = app.engine.read(request["run"])
    name = RunGuard(request["epoch"], request["nonce"])
    if not name.owns(head):
        return Outcome("claim lost", LOST)
    key = f"{head['documentType']}_{head['uuid']}"
    job_class = app.registry.get_class(head["jobType"])
    patience = request["lease"] * 2 / 3
    place_and_numbers = app.engine.datastore, key, name, head["seq"]
    limit, build = job_class.SOFT_TIMEOUT, app.build_id
    run = Run(*place_and_numbers, patience, app.clock, stopping, build=build, soft_limit=limit)
    with interrupts.during(run, request["nonce"]):
        return run_loaded(app, job_class, read_head(job_class, head), token, only_here(run))
