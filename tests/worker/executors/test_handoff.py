"""The claims that wait for a slot: all are taken once, and short ones by no more threads than needed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.processes import stretched, until
from zerog.engine.transitions import Claim
from zerog.worker.executors.handoff import ClaimQueue


def claims(*names: str) -> list[Claim]:
    return [Claim(name, name, 1, name, 1, {}) for name in names]


class Threads:
    """Threads that take claims and do something with each; by their number, what they took."""

    def __init__(self, count: int, work: Callable[[Claim], object] = lambda claim: None) -> None:
        self.backlog = ClaimQueue()
        self.took: list[tuple[int, str]] = []
        self._work = work
        self._threads = [threading.Thread(target=self._loop, args=(n,), daemon=True) for n in range(count)]
        for _ in self._threads:
            self.backlog.join()
        for thread in self._threads:
            thread.start()
        until(lambda: self.backlog._idle == count)

    def _loop(self, number: int) -> None:
        while (claim := self.backlog.get()) is not None:
            self.took.append((number, claim.uuid))
            self._work(claim)

    def end(self) -> None:
        self.backlog.close()
        for thread in self._threads:
            thread.join(stretched(10))
            assert not thread.is_alive()


@pytest.mark.parametrize("for_few", [False, True])
@pytest.mark.parametrize("count", [1, 2, 16])
def test_each_claim_is_taken_once_and_in_order(count: int, for_few: bool) -> None:
    threads = Threads(count)
    names = [f"{n:04}" for n in range(2_000)]
    for start in range(0, len(names), 100):
        threads.backlog.add(claims(*names[start : start + 100]), for_few)
    until(lambda: len(threads.took) == len(names))
    threads.end()
    assert Counter(name for _, name in threads.took) == Counter(names)
    if count == 1:
        assert [name for _, name in threads.took] == names


def test_each_idle_thread_takes_one_of_those_that_are_not_short() -> None:
    barrier = threading.Barrier(4, timeout=10)
    threads = Threads(4, lambda claim: barrier.wait())
    threads.backlog.add(claims("a", "b", "c", "d"))
    until(lambda: len(threads.took) == 4)
    threads.end()
    assert len({number for number, _ in threads.took}) == 4


def test_short_ones_are_worked_off_by_few() -> None:
    """Most of them by one thread, though no thread is reserved for them."""
    threads = Threads(16)
    for _ in range(50):
        done = len(threads.took)
        threads.backlog.add(claims(*(f"{n}" for n in range(40))), for_few=True)
        until(lambda done=done: len(threads.took) == done + 40)
    threads.end()
    changes = sum(1 for one, other in zip(threads.took, threads.took[1:], strict=False) if one[0] != other[0])
    assert changes < len(threads.took) / 4


def test_one_that_takes_long_after_all_holds_nothing_up() -> None:
    """Nor do as many of them as there are threads but one."""
    held = threading.Event()
    threads = Threads(4, lambda claim: held.wait(10) if claim.uuid.startswith("long") else None)
    threads.backlog.add(claims("long 1", "a", "long 2", "b", "long 3", "c", "d"), for_few=True)
    until(lambda: {name for _, name in threads.took} >= {"a", "b", "c", "d"})
    held.set()
    threads.end()


def test_when_jobs_are_not_short_any_more_all_work_off_what_is_left() -> None:
    held = threading.Event()
    threads = Threads(4, lambda claim: held.wait(10) if claim.uuid.startswith("long") else None)
    with threads.backlog._changed:  # so that no thread takes any in between
        threads.backlog._claims.extend(claims("long 1", "long 2", "long 3"))
    threads.backlog.add(claims("long 4"))
    until(lambda: len({number for number, _ in threads.took}) == 4)
    held.set()
    threads.end()


@pytest.mark.parametrize("for_few", [False, True])
def test_all_threads_end_when_it_is_closed_with_claims_left(for_few: bool) -> None:
    held = threading.Event()
    threads = Threads(8, lambda claim: held.wait(10))
    threads.backlog.add(claims(*map(str, range(40))), for_few)
    until(lambda: threads.took)
    threads.backlog.close()
    held.set()
    threads.end()
    assert len(threads.took) == 40


def test_what_is_popped_is_not_taken() -> None:
    backlog = ClaimQueue()
    assert backlog.pop() is None
    backlog.add(claims("a", "b"))
    popped = backlog.pop()
    assert popped is not None
    assert popped.uuid == "a"
    backlog.close()
    taken = backlog.get()
    assert taken is not None
    assert taken.uuid == "b"
    assert backlog.get() is None


def shared(*names: str) -> list[Claim]:
    """Return claims that share the slot of a limit."""
    made = claims(*names)
    for claim in made:
        claim.slot = "shared"
    return made


def test_of_those_that_share_a_slot_one_is_taken_at_a_time() -> None:
    """The next one when that run is over; others pass them meanwhile."""
    backlog = ClaimQueue()
    first, second, third = shared("a", "b", "c")
    backlog.add([first, second, *claims("d"), third])
    assert backlog.pop() is first
    other = backlog.pop()
    assert other is not None
    assert other.uuid == "d"
    backlog.over(other)
    assert backlog.pop() is None
    assert len(backlog) == 2
    backlog.over(first)
    assert backlog.pop() is second
    assert backlog.pop() is None
    backlog.over(second)
    assert backlog.pop() is third


@pytest.mark.parametrize("for_few", [False, True])
def test_a_thread_passes_the_claims_that_wait_for_a_run(for_few: bool) -> None:
    """And takes the next of them once that is over."""
    may_end = threading.Event()

    def work(claim: Claim) -> None:
        if claim.uuid == "a":
            may_end.wait()
        threads.backlog.over(claim)

    threads = Threads(4, work)
    threads.backlog.add([*shared("a", "b"), *claims("c", "d")], for_few)
    until(lambda: {"a", "c", "d"} <= {name for _, name in threads.took})
    assert "b" not in {name for _, name in threads.took}
    may_end.set()
    until(lambda: "b" in {name for _, name in threads.took})
    threads.end()


def test_late_ones_that_wait_for_a_run_can_be_taken_back() -> None:
    """Those for which nothing runs stay, and so do those that have waited for less time."""
    backlog = ClaimQueue()
    first, second, third = shared("a", "b", "c")
    first.at, second.at, third.at = 1.0, 1.0, 3.0
    [other] = claims("d")
    other.at = 1.0
    backlog.add([first, second, other, third])
    assert backlog.remove(before=2.0) == []
    assert backlog.pop() is first
    assert backlog.remove(before=2.0) == [second]
    assert backlog.remove() == [other, third]
