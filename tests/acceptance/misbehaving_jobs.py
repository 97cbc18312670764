"""Jobs that damage their process, and one that checks the state of its process."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import json
import locale
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.processes import leave


class Mute(Exception):
    """An exception that can't even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__


def sleeper(marks: Path, name: str) -> subprocess.Popen[bytes]:
    """A process that does nothing for ten minutes, in its own session for some names."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=name.startswith("session"))
    leave(marks / f"{name}.pid", str(process.pid))
    return process


def double_fork(marks: Path) -> None:
    """What a daemon does: the parent in between has gone when the job continues."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            leave(marks / "daemon.pid", str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.waitpid(pid, 0)
    while not (marks / "daemon.pid").exists():
        time.sleep(0.01)


class Leaving(zerog.BaseJob):
    """Starts processes in several ways and leaves them behind; then returns, or waits to be ended."""

    JOB_TYPE = "leaving"

    class Params(Schema):
        marks = fields.String(required=True)
        then = fields.String(load_default="return")

    marks: str
    then: str

    def run(self) -> Any:
        marks = Path(self.marks)
        if self.attempts > 1:
            return 200
        sleeper(marks, "plain")
        sleeper(marks, "session")
        double_fork(marks)
        leave(marks / "job.pid", str(os.getpid()))
        if self.then == "wait":
            time.sleep(600)
        if self.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return 200


class LeavingLate(Leaving):
    """The same with a time limit."""

    JOB_TYPE = "leaving_late"
    TIMEOUT = 1.5
    MAX_ERRORS = 1


class Odd(zerog.BaseJob):
    """Does one odd thing, named by ``how``."""

    JOB_TYPE = "odd"

    class Params(Schema):
        how = fields.String(required=True)
        marks = fields.String(load_default=".")

    how: str
    marks: str

    def run(self) -> Any:
        return getattr(self, f"do_{self.how}")()

    def do_str(self) -> None:
        raise Mute

    def do_memory(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
        bytearray(4 << 30)

    def do_stack(self) -> None:
        """Through C code at every step, so that the machine's own stack ends."""
        sys.setrecursionlimit(10**9)

        def deeper(_a: int, _b: int) -> int:
            return functools.reduce(deeper, (1, 2))

        deeper(1, 2)

    def do_stack_limit(self) -> int:
        sys.setrecursionlimit(5_000)
        return 200

    def do_exit(self) -> None:
        os._exit(0)

    def do_descriptors(self) -> None:
        os.closerange(3, 1024)

    def do_shutdown(self) -> None:
        """Ends its side of every connection it finds, the one to the worker included, and continues."""
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                ctypes.CDLL(None).shutdown(int(name), 1)
        time.sleep(600)

    def do_directory(self) -> int:
        os.chdir(self.marks)
        return 200

    def do_umask(self) -> int:
        os.umask(0o777)
        return 200

    def do_locale(self) -> int:
        locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")
        return 200

    def do_handler(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 200

    def do_alarm(self) -> int:
        signal.alarm(600)
        return 200

    def do_stdout(self) -> int:
        os.close(1)
        return 200

    def do_thread(self) -> int:
        threading.Thread(target=self._go_on_writing, args=("thread",)).start()
        return 200

    def do_endless_thread(self) -> int:
        threading.Thread(target=time.sleep, args=(600,)).start()
        return 200

    def do_daemon(self) -> int:
        threading.Thread(target=self._go_on_writing, args=("daemon",), daemon=True).start()
        return 200

    def _go_on_writing(self, name: str) -> None:
        """Write until it is refused, and then record that."""
        try:
            while True:
                self.record_event("from a thread")
        except BaseException as error:
            leave(Path(self.marks, name), type(error).__name__)

    def do_fork(self) -> dict[str, Any]:
        """Returns in both processes, and the copy tries to write first."""
        pid = os.fork()
        if pid:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            self.record_event("the original")
            return {"who": "original"}
        try:
            self.record_event("the copy")
            leave(Path(self.marks, "copy"), "wrote")
        except BaseException as error:
            leave(Path(self.marks, "copy"), type(error).__name__)
        return {"who": "copy"}


class AsyncOdd(Odd):
    """The same as a coroutine."""

    JOB_TYPE = "async_odd"

    async def run(self) -> Any:
        await asyncio.sleep(0)
        return super().run()


class Look(zerog.BaseJob):
    """Records the state of its process."""

    JOB_TYPE = "look"

    def run(self) -> dict[str, Any]:
        mask = os.umask(0)
        os.umask(mask)
        return {
            "pid": os.getpid(),
            "directory": os.getcwd(),
            "umask": mask,
            "locale": locale.setlocale(locale.LC_ALL),
            "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
            "stdout": os.path.exists("/proc/self/fd/1"),
            "json": json.dumps([1]),
            "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
            "recursion": sys.getrecursionlimit(),
            "threads": [thread.name for thread in threading.enumerate() if not thread.daemon],
        }


class Hoard(zerog.BaseJob):
    """Keeps memory for the rest of its process's life."""

    JOB_TYPE = "hoard"
    kept: list[bytearray] = []  # noqa: RUF012

    class Params(Schema):
        mib = fields.Integer(required=True)

    mib: int

    def run(self) -> dict[str, Any]:
        self.kept.append(bytearray(b"x" * (self.mib << 20)))
        return {"pid": os.getpid()}


app = zerog.App()
app.register(Leaving, Odd, AsyncOdd, Look, Hoard)
if os.environ.get("ZEROG_TEST_LIMITS"):
    app.register(LeavingLate)
