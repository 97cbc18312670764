"""Fork child processes from a process without threads.

Forking a process that runs threads is asking for deadlocks, and starting a fresh interpreter for each child costs a
hundred times what a fork does. So a worker forks once, before it starts a thread; that *nursery* does nothing but fork
children on request and report how they ended. It holds no connection to anything. Whatever a dead child leaves behind
becomes the nursery's own child and is killed before the death is reported; the nursery itself exits only once all are
gone, so that even a killed worker leaves nothing running.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from zerog.exceptions import ZerogError
from zerog.worker.executors.cleanup import adopt_orphans, end_children

log = logging.getLogger("zerog")

START_SECONDS = 30.0
"""Seconds that a fork may take before the nursery counts as broken."""


class ForkServer:
    """The worker's side: requests children and receives how they ended."""

    def __init__(self, child: Callable[[socket.socket], None]) -> None:
        """Fork the nursery; each of its children will call ``child`` with its end of a socket, then exit."""
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):  # or each child would write what is buffered there, too
            with suppress(Exception):  # closed, or its reader is gone
                stream.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                _live(theirs, child)
            finally:
                os._exit(1)  # whatever happens, this copy of the worker must not run the program's other code
        theirs.close()
        self._socket = ours
        self._forking = threading.Lock()
        self._changed = threading.Condition()
        self._born: list[int] = []
        """The pids of new children; for one that could not be made, the number of the error, below 0."""
        self._ended: dict[int, int] = {}
        self._gone = False
        # Copied here, not in the thread: this one may be closed before that begins.
        threading.Thread(target=self._listen, args=(ours.dup(),), name="zerog-forkserver", daemon=True).start()

    def fork(self) -> tuple[int, socket.socket]:
        """Return a new child's pid and the socket to it. Raises OSError, and ZerogError if the nursery is gone."""
        ours, theirs = socket.socketpair()
        # One request at a time, so that the next pid that is reported belongs to this socket.
        with self._forking, self._changed:
            try:
                socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
            except OSError:
                self._gone = True
            theirs.close()
            if not self._changed.wait_for(lambda: self._born or self._gone, START_SECONDS) or not self._born:
                ours.close()
                self._gone = True
                raise ZerogError("the process that forks children is gone")
            pid = self._born.pop(0)
            if pid < 0:
                ours.close()
                raise OSError(-pid, os.strerror(-pid))
            return pid, ours

    @property
    def is_gone(self) -> bool:
        """True if it can't fork any more."""
        return self._gone

    def has_ended(self, pid: int) -> bool:
        """Return True if the end of this child was reported."""
        with self._changed:
            return pid in self._ended

    def how_it_ended(self, pid: int, timeout: float) -> int | None:
        """Return the wait status of a child that ends within ``timeout`` seconds, or None."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended or self._gone, timeout)
            return self._ended.pop(pid, None)

    def close(self) -> None:
        """Make the nursery kill what still runs, and exit."""
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)  # the thread that listens has a copy, which closing this leaves open
        self._socket.close()

    def _listen(self, receiver: socket.socket) -> None:
        with receiver, receiver.makefile("r") as lines:
            try:
                for line in lines:
                    message = json.loads(line)
                    with self._changed:
                        if "born" in message:
                            self._ended.pop(message["born"], None)  # of an earlier process with the same number
                            self._born.append(message["born"])
                        else:
                            self._ended[message["pid"]] = message["status"]
                        self._changed.notify_all()
            except OSError:
                pass
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        with suppress(ChildProcessError):  # the program has waited for all of its children itself
            os.waitpid(self.pid, 0)


def _live(control: socket.socket, child: Callable[[socket.socket], None]) -> None:
    """Fork and reap children, as the nursery, until the worker is gone. Returns if that failed."""
    try:
        os.setpgid(0, 0)  # a terminal's Ctrl-C is for the worker alone
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the worker decides when this process ends
        adopt_orphans()
        alive: set[int] = set()
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is control:
                        _serve(control, child, alive)
                    else:
                        os.read(woken, 4096)
                _reap(control, alive)
    except BaseException:
        log.exception("the process that forks children failed")
        end_children()


def _leave() -> NoReturn:
    """End all children and exit: the worker is gone or done, and nothing that it started may keep running."""
    end_children()
    os._exit(0)


def _serve(control: socket.socket, child: Callable[[socket.socket], None], alive: set[int]) -> None:
    try:
        request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except ConnectionError:  # the worker is gone without having read the last report
        _leave()
    if not request:
        _leave()
    try:
        pid = os.fork()
    except OSError as error:  # the system allows no more processes now
        os.close(descriptors[0])
        _send(control, {"born": -(error.errno or errno.EAGAIN)})
        return
    if pid == 0:
        _become_child(control, descriptors[0], child)
    with suppress(OSError):
        os.setpgid(pid, pid)  # the child does it, too: either may be first
    alive.add(pid)
    os.close(descriptors[0])
    _send(control, {"born": pid})


def _become_child(control: socket.socket, descriptor: int, child: Callable[[socket.socket], None]) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)  # so that whatever a job leaves behind can be ended with it
        control.close()
        with socket.socket(fileno=descriptor) as connection:
            child(connection)
        status = 0
    finally:
        os._exit(status)


def _reap(control: socket.socket, alive: set[int]) -> None:
    """Reap and report the children that ended, each with its whole group and everything it left to the nursery."""
    while pid := _ended():
        if pid in alive:
            kill_group(pid)  # while it is not reaped its number can't belong to another process
        status = os.waitpid(pid, 0)[1]
        if pid in alive:
            alive.discard(pid)
            end_children(spared=alive)
            _send(control, {"pid": pid, "status": status})


def _ended() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _send(control: socket.socket, message: dict[str, int]) -> None:
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        _leave()


def describe(status: int | None) -> str:
    """Describe a wait status in words."""
    if status is None:
        return "it did not report how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"killed by {name} (signal {number})"
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def kill_group(pid: int) -> None:
    """Kill a child and everything it started that didn't leave its process group."""
    with suppress(ProcessLookupError, PermissionError):  # gone, or all of another user
        os.killpg(pid, signal.SIGKILL)
