"""The script that does all the work on a Redis server, in parts that are joined, and its settings.

Its commands and the words in them are in ``protocol``. Nothing here imports the client of the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from zerog.contracts.queue import FAIR_SHARE
from zerog.records.fields import HISTORY, named
from zerog.records.operations import dropped_field
from zerog.support import jsonvalues
from zerog.support.checks import LONGEST_DELAY

HOT = (*named(lambda field: field.is_scripted), *map(dropped_field, HISTORY))
"""Fields that never lie in the body of a document: those that the script decides by, and that every run counts."""

APART = (*HOT, "jobType", "finishedAt", "createdAt")
"""Fields that are stored apart from the body: the last three because of an index."""

ORDERS = 999_999_999_999_999
"""The highest number of an entry; those put ahead are numbered downwards from it."""

REJECTED = 1_000
"""Rejected bodies (no uuid) kept for inspection, per queue."""

BUSY = {
    "OOM": "it has used all of its memory (maxmemory) and takes no writes",
    "READONLY": "it is a read-only replica",
    "LOADING": "it is loading its data",
    "MASTERDOWN": "it is a replica whose primary is gone",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster is moving the keys",
    "MOVED": "another node of its cluster has the keys of this prefix; name that one in the URL",
    "ASK": "its cluster is moving the keys",
    "MISCONF": "it can't save its data and takes no writes",
    "NOREPLICAS": "it has too few replicas to take writes",
    "BUSY": "it is busy with another client's script",
    "UNBLOCKED": "its role has changed",
}
"""Meanings of a server's codes for refusals that did nothing."""

PARTS = ("names", "documents", "queues", "changes", "jobs", "commands")
"""Each uses those before it."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def source() -> bytes:
    """Return the whole script, with its settings."""
    text = "\n".join(files("zerog.backends.redis.script").joinpath(f"{part}.lua").read_text() for part in PARTS)
    settings = {
        "HOT": ", ".join(f"""[',"{name}":'] = true""" for name in HOT),
        "REFUSALS": " ".join((*BUSY, "NOPERM")),
        "MAX_BYTES": jsonvalues.MAX_BYTES,
        "JOB_BYTES": jsonvalues.JOB_BYTES,
        "HISTORY_BYTES": jsonvalues.HISTORY_BYTES,
        "SHARE": FAIR_SHARE,
        "REJECTED": REJECTED,
        "ORDERS": ORDERS,
        "LONGEST": LONGEST_DELAY,
        "UUID": "^" + "%-".join("[0-9a-f]" * digits for digits in (8, 4, 4, 4, 12)) + "$",
    }
    for name, value in settings.items():
        text = text.replace(f"@{name}@", str(value))
    return text.encode()


def encoded(command: dict[str, Any]) -> str:
    """Return a command as JSON text."""
    return _encode(command)


def listed(commands: Sequence[dict[str, Any] | str]) -> str:
    """Return the commands of a call, some of which may be JSON texts already."""
    return f"[{','.join([command if type(command) is str else _encode(command) for command in commands])}]"
