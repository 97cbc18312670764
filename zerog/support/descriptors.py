"""The open file descriptors of this process."""

from __future__ import annotations

import os
import resource


def descriptors() -> dict[str, int] | None:
    """Return how many descriptors are ``open``, and the ``limit``; None where the system has no list or no limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        number = len(os.listdir("/dev/fd")) - 1  # without that of the list itself
    except OSError:  # no such list here, or none of them left to read it by
        return None
    return None if limit == resource.RLIM_INFINITY else {"open": number, "limit": limit}
