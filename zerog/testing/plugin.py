"""The pytest plugin: installed with ZeroG, it gives every test the fixture ``crash_matrix``.

It is loaded in every run of pytest, so it imports nothing of its own before a fixture is used.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zerog.testing.crash_matrix import CrashReport


@pytest.fixture(name="crash_matrix")
def crash_matrix_fixture(tmp_path: Path) -> Callable[..., CrashReport]:
    """``crash_matrix(MyJob, params)``: the job survives a crash at each point. See zerog.testing.crash_matrix."""
    from zerog.testing.crash_matrix import crash_matrix

    return partial(crash_matrix, tmp_path / "crash-matrix")
