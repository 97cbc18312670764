"""A process that has ZeroG loaded: programs run in forks of it, each at a tenth of the cost of a new Python."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from tests.processes import leave, stretched

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

SECONDS = 60.0
"""Seconds within which a program must end, or start."""


class Preloaded:
    """One such process, started with options of Python's; it ends with the process that started it."""

    def __init__(self, *options: str, modules: Sequence[str] = MODULES) -> None:
        command = [sys.executable, *options, "-m", "tests.preloaded", *modules]
        pipe, root = subprocess.PIPE, Path(__file__).parents[1]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy starts no threads then
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, cwd=root, env=environment, start_new_session=True
        )

    def run(
        self, *arguments: str, folder: Path, text: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python *arguments`` in a folder, a file or ``-m`` and a module, and wait for its end."""
        with tempfile.TemporaryDirectory() as streams:
            files = [Path(streams, name) for name in ("stdin", "stdout", "stderr")]
            for file in files:
                file.write_text(text if file.name == "stdin" else "")
            code = self._ask(arguments, folder, files, environment, None)
            printed = [file.read_text() for file in files[1:]]
        return subprocess.CompletedProcess(arguments, code, *printed)

    def start(
        self, *arguments: str, folder: Path, log: Path, environment: dict[str, str] | None = None
    ) -> StartedProgram:
        """Start ``python *arguments`` in a folder and in a process group of its own; what it prints goes to a file."""
        log.touch()
        code = Path(tempfile.mkdtemp(), "code")
        return StartedProgram(self._ask(arguments, folder, [Path(os.devnull), log, log], environment, code), code)

    def _ask(
        self,
        arguments: tuple[str, ...],
        folder: Path,
        files: list[Path],
        environment: dict[str, str] | None,
        code: Path | None,
    ) -> int:
        """The exit code of a program, or its pid if its code is to be left in a file."""
        assert self._process.stdin is not None and self._process.stdout is not None
        environment = dict(os.environ if environment is None else environment)
        ignored = [number for number in (signal.SIGHUP, signal.SIGINT) if signal.getsignal(number) is signal.SIG_IGN]
        request = [code and str(code), arguments, str(folder), [*map(str, files)], environment, ignored]
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = select.poll()  # not select(): a process that has tested for long may have many files open
        answer.register(self._process.stdout, select.POLLIN)
        if not answer.poll(1_000 * stretched(SECONDS)):
            os.killpg(self._process.pid, signal.SIGKILL)
            raise AssertionError(f"python {' '.join(arguments)}: not within stretched({SECONDS}) s")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        assert self._process.returncode == 0


class StartedProgram:
    """A program that was started, with what the tests use of a ``subprocess.Popen``."""

    def __init__(self, pid: int, code: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._code = code

    def poll(self) -> int | None:
        """Its exit code, None if it hasn't ended."""
        if self.returncode is None and self._code.exists():
            self.returncode = int(self._code.read_text())
            shutil.rmtree(self._code.parent)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; a busy machine may take longer than ``timeout``."""
        deadline = None if timeout is None else time.monotonic() + stretched(timeout)
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"the program with pid {self.pid}", timeout or 0)
            time.sleep(0.005)  # the pace of polling
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def serve() -> None:
    """Run what is asked for until the asking process closes its end or ends; each before the next, or aside."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    while request := sys.stdin.buffer.readline():
        code, *program = json.loads(request)
        pid = os.fork()
        if pid == 0:
            if code is None or watched(Path(code)):
                become(*program)
            return
        if code is None:
            os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            os.waitpid(pid, 0)


def watched(code: Path) -> bool:
    """Fork twice: True in the program, which belongs to a process that leaves its exit code in a file."""
    if os.fork() != 0:
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        return True
    os.write(1, b"%d\n" % pid)
    for stream in range(3):
        os.close(stream)
    leave(code, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


def become(
    arguments: list[str], folder: str, files: list[str], environment: dict[str, str], ignored: list[int]
) -> None:
    """Be the program, which ignores the signals that the asking process ignores."""
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    for number, name in enumerate(files):
        opened = os.open(name, os.O_RDWR | os.O_APPEND)
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
