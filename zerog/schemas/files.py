"""Frozen schemas: files for the repository, one a type and version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from zerog.exceptions import ZerogError
from zerog.schemas.describe import FROZEN, Described

LONGEST = 120
"""Characters of a type's name in the name of its file; a longer one ends in a hash."""


class FrozenUnreadable(ZerogError):
    """A frozen file that can't be read as one."""


class Written(NamedTuple):
    """One file, and what was done: ``new``, ``changed`` or ``same``."""

    path: Path
    described: Described
    done: str


def freeze(described: Iterable[Described], folder: Path) -> list[Written]:
    """Write each type's description; files of other versions and types stay. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(one, folder / file_name(one)) for one in described]


def _write(described: Described, path: Path) -> Written:
    text = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before != text:
        path.write_text(text, encoding="utf-8")
    return Written(path, described, "new" if before is None else "same" if before == text else "changed")


def file_name(described: Described) -> str:
    """Return the name of a type's file: ``report-1.0.json``."""
    name = quote(described["jobType"], safe=" ")
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(described['jobType'].encode()).hexdigest()[:8]}"
    return f"{name}-{described['schemaVersion']}.json"


def read_frozen(folder: Path) -> list[Described]:
    """Return the descriptions in a folder, by type and version.

    Raises FrozenUnreadable, naming the file, also for a folder without any.
    """
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise FrozenUnreadable(f"{folder} has no frozen schema: write them with zerog schema freeze")
    return sorted(found, key=lambda one: (one["jobType"], one["schemaVersion"]))


def _read(path: Path) -> Described:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        layout = described["frozen"]
        if layout == FROZEN:
            described["jobType"] + "", described["schemaVersion"] + 0.0, described["migrations"]
            described["params"]["properties"], described["state"]["properties"]
            return dict(described)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FrozenUnreadable(f"{path} is no frozen schema ({type(error).__name__}: {error})") from error
    raise FrozenUnreadable(f"{path} has the layout {layout!r:.40}; this version of ZeroG reads {FROZEN}")
