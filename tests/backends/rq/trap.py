"""Leaves a file behind when it is imported."""

from __future__ import annotations

import os
from pathlib import Path

Path(os.environ["ZEROG_TEST_TRAP"]).touch()


def sprung(*_arguments):
    """The function that a foreign job or callback would call."""
