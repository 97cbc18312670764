"""The pytest plugin: installed with ZeroG, it provides fixtures.

They are ``zerog_app``, ``zerog_clock``, ``zerog_golden`` and ``crash_matrix``.

It is loaded in every run of pytest, so it imports nothing further before a fixture is used.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from zerog.app import App
    from zerog.testing.clock import ManualClock
    from zerog.testing.crash_matrix import CrashReport


@pytest.fixture
def zerog_clock() -> ManualClock:
    """Return the clock of ``zerog_app``, which stands still until ``zerog_clock.advance(seconds)``."""
    from zerog.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def zerog_app(zerog_clock: ManualClock) -> Iterator[App]:
    """Yield an empty app in memory; register your classes with it. For your own app use ``zerog.testing.isolated``."""
    from zerog.app import App

    app = App("memory://", clock=zerog_clock)
    yield app
    app.close()


@pytest.fixture(name="crash_matrix")
def crash_matrix_fixture(tmp_path: Path) -> Callable[..., CrashReport]:
    """Return ``crash_matrix(MyJob, params)``: the job survives a crash at each point (zerog.testing.crash_matrix)."""
    from zerog.testing.crash_matrix import crash_matrix

    return partial(crash_matrix, tmp_path / "crash-matrix")


@pytest.fixture
def zerog_golden() -> Callable[..., list[str]]:
    """Return ``zerog_golden(app, folder)``: each golden document loads, migrates, resumes (zerog.testing.golden)."""
    from zerog.testing.golden import check_golden

    return check_golden
