"""The command on a terminal."""

from __future__ import annotations

import codecs
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cli.builders import without_app


def in_terminal(folder: Path, columns: int, *arguments: str, code: int = 0) -> list[str]:
    """The lines that the command prints on a terminal of that width before it ends with that exit code."""
    with _started(folder, columns, arguments) as (process, printed):
        read = "".join(printed)
    assert process.returncode == code, read
    return read.replace("\r", "").splitlines()


def watched(folder: Path, columns: int, seconds: float | None, *arguments: str) -> str:
    """What the command prints on a terminal of that width, until it ends or is interrupted after some seconds."""
    with _started(folder, columns, arguments) as (process, printed):
        if seconds is not None:
            threading.Timer(seconds, process.kill).start()
        return "".join(printed)


@contextmanager
def _started(
    folder: Path, columns: int, arguments: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    """The command, started on a terminal of that width, and what it prints until it ends."""
    environment = {**without_app(), "COLUMNS": str(columns), "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zerog", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment) as process:
        os.close(theirs)
        yield process, codecs.iterdecode(_read(ours), "utf-8")
    os.close(ours)


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return
        if not read:
            return
        yield read


def plain(line: str) -> str:
    """A line without its colours."""
    while "\x1b[" in line:
        start = line.index("\x1b[")
        line = line[:start] + line[line.index("m", start) + 1 :]
    return line
