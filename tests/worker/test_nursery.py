"""The process that forks children, and what a worker makes of its reports."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from tests.forks import in_a_fork
from tests.worker.kit import Started
from zerog.clock import SYSTEM
from zerog.worker import nursery
from zerog.worker.children import ProcessSlots
from zerog.worker.outcome import LOST


def test_it_leaves_quietly_when_its_last_words_were_not_read() -> None:
    """A worker that ends at that very moment resets the connection; that is an end like any other, and no failure."""
    worker, its_own = socket.socketpair()
    its_own.sendall(b'{"pid": 5, "status": 0}\n')
    worker.close()
    assert in_a_fork(lambda: nursery._serve(its_own, lambda connection: None, set())) == 0
    its_own.close()


@pytest.mark.parametrize("is_leaving", [True, False])
def test_a_child_that_ends_with_its_worker_has_not_crashed(is_leaving: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that leaves gives its jobs back itself; only a death that it did not want is told and counted."""
    started = Started(lambda self: 200)
    reports: Any = SimpleNamespace(is_gone=True, how_it_ended=lambda pid, timeout: 9)
    slots = ProcessSlots(started.app, 1, 30.0, lambda *_: None, SYSTEM, reports)
    if is_leaving:
        slots.abandon("the worker is shutting down")
    child: Any = SimpleNamespace(pid=0, killed=False)
    outcome = slots._died(started.claim, child, has_begun=True)
    crashes = started.app.get_job(started.uuid).crashes
    if is_leaving:
        assert (outcome is not None and outcome.kind, crashes, caplog.text) == (LOST, 0, "")
    else:
        assert (outcome, crashes) == (None, 1)
        assert "SIGKILL" in caplog.text
