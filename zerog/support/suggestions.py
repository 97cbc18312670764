"""Near matches for an unknown name, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 200
"""Characters of a name for which near matches are searched: the search takes the product of both lengths."""


def close_to(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``; None if none is, or if ``name`` is longer than any name."""
    if not isinstance(name, str) or len(name) > LONGEST:
        return None
    close = difflib.get_close_matches(name, known, 1)
    return close[0] if close else None
