"""Writes of a run whose answer is lost or late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.builders import Started
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.testing.clock import ManualClock
from zerog.testing.inline import run_inline
from zerog.worker.outcome import LOST


class Unsure(MemoryDatastore):
    """Stores the next ``times`` run writes and loses the answers, or with ``refuse`` stores nothing."""

    times = 0
    refuse = False

    def mutate(self, key: str, operations: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(kwargs.get("run"), "seq", None) is None or not self.times:
            return super().mutate(key, operations, *args, **kwargs)
        self.times -= 1
        if self.refuse:
            raise DatastoreUnavailable("down")
        super().mutate(key, operations, *args, **kwargs)
        raise AmbiguousWrite("timeout")


def test_a_write_whose_answer_was_lost_is_applied_once() -> None:
    store = Unsure()

    def run(self: Any) -> Any:
        store.times = 2
        self.add_to_completeness(0.25)
        self.record_event("next")
        return 500

    started = Started(run, store)
    job = started.settle(started.go())
    assert (job.completeness, len(job.events)) == (0.25, 1)


def test_a_save_whose_answer_was_lost_is_no_collision() -> None:
    store = Unsure()

    def run(self: Any) -> Any:
        store.times = 2
        self.output = "saved"
        self.save()

    started = Started(run, store)
    job = started.settle(started.go())
    assert (job.output, job.status) == ("saved", "succeeded")


def test_a_write_that_never_gets_an_answer_ends_the_run_and_its_number_is_not_used_again() -> None:
    """Otherwise the next write would be taken for its repetition: answered "done" and dropped, the result too."""
    store, clock = Unsure(), ManualClock()

    def run(self: Any) -> Any:
        store.times = 10_000 if self.attempts == 1 else 0
        try:
            self.record_event("perhaps")
        finally:
            store.times = 0
        return 200

    started = Started(run, store, clock)
    assert started.go().kind == LOST
    assert started.app.progress(started.uuid)["status"] == "running"
    assert started.app.engine.rescue(started.uuid, started.claim.run, "lost", "no answer")
    assert run_inline(started.app, started.uuid).status == "succeeded"


def test_a_driver_s_own_exception_leaves_the_number_unknown_too() -> None:
    class Odd(Unsure):
        def mutate(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().mutate(*args, **kwargs)
            except AmbiguousWrite:
                raise OSError("socket closed") from None

    store = Odd()

    def run(self: Any) -> Any:
        store.times = 1
        try:
            self.record_event("perhaps")
        except OSError:
            return 200

    assert Started(run, store).go().kind == LOST


def test_a_write_that_was_refused_for_too_long_is_the_job_s_to_handle() -> None:
    store, clock = Unsure(), ManualClock()
    store.refuse = True

    def run(self: Any) -> Any:
        store.times = 10_000
        with pytest.raises(DatastoreUnavailable):
            self.record_event("not stored")
        store.times = 0
        self.record_event("stored")
        return 200

    started = Started(run, store, clock)
    job = started.settle(started.go())
    assert (job.status, [event["msg"] for event in job.events]) == ("succeeded", ["stored"])
