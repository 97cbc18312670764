"""A clock set by hand, and an engine of each kind that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.engines import EACH_KIND, KINDS
from zerog.engine.engine import Engine
from zerog.support import failpoints
from zerog.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=EACH_KIND)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    opened = KINDS[request.param].open(tmp_path, clock)
    yield opened
    failpoints.disarm()
    opened.close()
