"""Faults that an adapter may find in its store, for ``zerog doctor``."""

from __future__ import annotations

from typing import NamedTuple


class Trouble(NamedTuple):
    """A fault of a store that a user has to repair."""

    what: str
    mend: str
    command: str | None = None
    """The command that repairs it, in shell syntax."""
