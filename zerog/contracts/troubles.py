"""What an adapter may find wrong with its store, for ``zerog doctor``."""

from __future__ import annotations

from typing import NamedTuple


class Trouble(NamedTuple):
    """Something wrong with a store, which a person has to mend."""

    what: str
    mend: str
    command: str | None = None
    """The command that mends it, as a shell takes it."""
