"""The names of builds, and ranges of them: ``A..B``, ``A..`` and ``..B``, each with its ends.

Names are compared part by part, their digits as numbers: ``2026.11.9`` comes before ``2026.11.10``. Names without an
order, such as hashes of commits, make no useful range.
"""

from __future__ import annotations

import re

RANGE = ".."


def is_within(build: object, wanted: str) -> bool:
    """Return True if a build is the one of this name, or within this range."""
    if type(build) is not str:
        return False
    if build == wanted:
        return True
    low, dots, high = wanted.partition(RANGE)
    if not dots:
        return False
    place = _place(build)
    return (not low or _place(low) <= place) and (not high or place <= _place(high))


def is_empty(wanted: str) -> bool:
    """Return True for a range that no build can be in: without ends, or with the later one first."""
    low, dots, high = wanted.partition(RANGE)
    return bool(dots) and (not (low or high) or bool(low and high and _place(low) > _place(high)))


def _place(build: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", build)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
