"""Environment variables with secrets: for this process and its forks, not for programs that jobs start."""

from __future__ import annotations

import os

SECRET = ("ZEROG_URL", "ZEROG_DATASTORE", "ZEROG_QUEUE", "ZEROG_COUCHBASE_PASSWORD")
"""Variables that may contain a password."""

PASS_VARIABLE = "ZEROG_PASS_URL"  # noqa: S105  # a name, no password
"""Environment variable by which a worker leaves the secret ones to the programs that its jobs start."""

_kept: dict[str, str] = {}


def variable(name: str) -> str | None:
    """Return an environment variable, also one that ``keep_secrets`` has taken out of the environment."""
    return os.environ.get(name, _kept.get(name))


def keep_secrets() -> None:
    """Take the secret variables out of the environment, for ``variable`` alone, unless ZEROG_PASS_URL is set."""
    if not os.environ.get(PASS_VARIABLE):
        _kept.update({name: os.environ.pop(name) for name in SECRET if name in os.environ})
