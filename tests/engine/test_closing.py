"""What an engine leaves behind that was closed."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path

import pytest

from tests.engine.engines import EACH_KIND, KINDS
from tests.processes import until
from zerog.testing.clock import ManualClock


def open_files() -> int:
    """Return the number of descriptors of this process, once garbage is collected, that of other tests, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("kind", EACH_KIND)
def test_nothing_stays_open(kind: str, tmp_path: Path) -> None:
    """A program may open and close apps all day."""

    def use() -> None:
        engine = KINDS[kind].open(tmp_path, ManualClock())
        engine.queue.size()
        engine.datastore.read("zerog_none")
        engine.queue.wake()
        engine.close()

    use()
    before = open_files()
    gc.freeze()  # what all tests before this one have left is looked through once
    for _ in range(10):
        use()
    until(lambda: open_files() < before + 5, what="all closed, by threads of drivers, too")
