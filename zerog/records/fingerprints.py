"""The fingerprint of an error: the same for failures at the same place of the code, whatever their messages hold."""

from __future__ import annotations

from hashlib import sha256

LENGTH = 16
"""Hexadecimal digits of a fingerprint."""


def fingerprint(job_type: str, kind: str, place: str = "", line: str = "") -> str:
    """Return the fingerprint of an error.

    ``kind``: the class of the exception, or a word for what the engine noticed. ``place``: module and qualified name of
    the innermost function of the job's own code. ``line``: the text of its line; its number and its spaces don't count.
    """
    parts = (job_type, kind, place, "".join(line.split()))
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:LENGTH]
