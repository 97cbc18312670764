"""Describe the types of an app as they were in a revision of its repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from zerog.exceptions import ConfigurationError, ZerogError

SECONDS = 120
"""Time for git, and for the import of the app."""

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "SYSTEMROOT")
"""What the app of a revision sees of the environment: no address and no secret."""


class CannotBuild(ZerogError):
    """The app of a revision that can't be imported."""


def described_at(app: str, revision: str) -> list[dict[str, Any]]:
    """Return the described types of an app in a revision, with an app in memory in a process of its own.

    The files come from ``git archive`` of the repository that the current folder is in. Raises ConfigurationError for
    what is no revision, CannotBuild for an app that can't be imported or is imported from elsewhere.
    """
    root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
    prefix = _git(Path.cwd(), "rev-parse", "--show-prefix")
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except ConfigurationError:
        raise ConfigurationError(
            f"{revision} is neither a folder nor a revision of the repository {root}; nothing was compared"
        ) from None
    with tempfile.TemporaryDirectory(prefix="zerog-") as name:
        files, out = Path(name, "files"), Path(name, "types.json")
        archive = Path(name, "archive.tar")
        _git(root, "archive", "--format=tar", f"--output={archive}", commit)
        with tarfile.open(archive) as packed:
            packed.extractall(files, filter="data")
        folder = files / prefix
        if not folder.is_dir():
            raise CannotBuild(f"the revision {revision} has no folder {prefix}")
        return _described_in(app, files, folder, out, revision)


def _described_in(app: str, files: Path, folder: Path, out: Path, revision: str) -> list[dict[str, Any]]:
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"HOME": str(files)}
    command = [sys.executable, "-E", "-P", "-m", "zerog.cli.revision_child", app, str(files), str(out)]
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"the app of {revision} was not imported within {SECONDS} s") from None
    if not out.exists():
        raise CannotBuild(
            f"the app of {revision} can't be imported: {ended.stderr.strip()[-2000:] or ended.returncode}"
        )
    answer = json.loads(out.read_text(encoding="utf-8"))
    if "error" in answer:
        error = CannotBuild(f"the app of {revision} can't be built: {answer['error']}".replace(str(files), revision))
        for note in answer["notes"]:
            error.add_note(note.replace(str(files), revision))
        raise error
    return list(answer["types"])


def _git(folder: Path, *arguments: str) -> str:
    try:
        ended = subprocess.run(
            [_program(), "-C", str(folder), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"git {arguments[0]} took longer than {SECONDS} s; nothing was compared") from None
    if ended.returncode:
        raise ConfigurationError(f"git {arguments[0]}: {ended.stderr.strip() or 'failed'}; nothing was compared")
    return ended.stdout.strip()


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise ConfigurationError("comparing with a revision needs git, which isn't installed; nothing was compared")
    return found
