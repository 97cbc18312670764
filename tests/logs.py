"""The configuration of logging, which belongs to the whole process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_kept() -> Iterator[None]:
    """Restore the configuration of logging at the end of the block."""
    root, log, last_resort = logging.getLogger(), logging.getLogger("zerog"), logging.lastResort
    before = root.level, root.handlers[:], log.level, log.disabled
    try:
        yield
    finally:
        root.setLevel(before[0])
        log.setLevel(before[2])
        root.handlers[:], log.disabled, logging.lastResort = before[1], before[3], last_resort
