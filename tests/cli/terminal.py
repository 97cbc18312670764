"""The command on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.cli.builders import without_app


def in_terminal(folder: Path, columns: int, *arguments: str, code: int = 0) -> list[str]:
    """The lines that the command prints on a terminal of that width before it ends with that exit code."""
    environment = {**without_app(), "COLUMNS": str(columns), "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zerog", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment) as process:
        os.close(theirs)
        printed = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not read:
                break
            printed += read
    os.close(ours)
    assert process.returncode == code, printed
    return printed.decode().replace("\r", "").splitlines()


def plain(line: str) -> str:
    """A line without its colours."""
    while "\x1b[" in line:
        start = line.index("\x1b[")
        line = line[:start] + line[line.index("m", start) + 1 :]
    return line
