"""A process that has ZeroG loaded: programs run in forks of it, each at a tenth of the cost of a new Python."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from tests.processes import stretched

MODULES = [
    "marshmallow",
    "zerog.app",
    "zerog.backends.memory.backend",
    "zerog.backends.sqlite.backend",
    "zerog.backends.sqlite.engine",
    "zerog.cli.root",
    "zerog.testing",
    "zerog.worker.worker",
]
"""What nearly every program loads; none of them starts a thread, which a fork would lose."""

STREAMS = "stdin", "stdout", "stderr"

SECONDS = 60.0
"""Seconds within which a program must end."""


class Preloaded:
    """One such process, started with options of Python's; it ends with the process that started it."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, *options, "-m", "tests.preloaded"]
        pipe, root = subprocess.PIPE, Path(__file__).parents[1]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, start_new_session=True)

    def run(
        self, *arguments: str, folder: Path, text: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python *arguments`` in a folder, a file or ``-m`` and a module, and wait for its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with TemporaryDirectory() as streams:
            for name in STREAMS:
                Path(streams, name).write_text(text if name == "stdin" else "")
            request = [arguments, str(folder), streams, dict(os.environ if environment is None else environment)]
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = select.poll()  # not select(): a process that has tested for long may have many files open
            answer.register(self._process.stdout, select.POLLIN)
            if not answer.poll(1_000 * stretched(SECONDS)):
                os.killpg(self._process.pid, signal.SIGKILL)
                raise AssertionError(f"python {' '.join(arguments)}: not within stretched({SECONDS}) s")
            code = int(self._process.stdout.readline())
            printed = [Path(streams, name).read_text() for name in STREAMS[1:]]
        return subprocess.CompletedProcess(arguments, code, *printed)

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        assert self._process.returncode == 0


def serve() -> None:
    """Run what is asked for, one at a time, until the asking process closes its end or ends."""
    for module in MODULES:
        importlib.import_module(module)
    while request := sys.stdin.buffer.readline():
        pid = os.fork()
        if pid == 0:
            become(*json.loads(request))
            return
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def become(arguments: list[str], folder: str, streams: str, environment: dict[str, str]) -> None:
    """Be the program."""
    for number, name in enumerate(STREAMS):
        opened = os.open(f"{streams}/{name}", os.O_RDWR | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-m":
        sys.path[0], sys.argv = folder, arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = arguments[0]
    exec(compile(Path(arguments[0]).read_bytes(), arguments[0], "exec"), main.__dict__)


if __name__ == "__main__":
    serve()
