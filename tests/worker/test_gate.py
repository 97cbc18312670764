"""What was claimed before a slot was free: it begins only if it still should, and is released if no slot takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running, short_lease
from zerog.contracts.datastore import RunGuard
from zerog.records.keys import worker_key
from zerog.worker import fetcher
from zerog.worker.pace import (
    AHEAD_BELOW,
    AHEAD_SECONDS,
    CROWD,
    LONGEST_CLAIM_PAUSE,
    SHORTEST_REFUSAL_PAUSE,
    ClaimTimes,
    Pace,
)


class Short(zerog.BaseJob):
    JOB_TYPE = "short"

    def run(self) -> int:
        return 200


class Slow(zerog.BaseJob):
    """Holds its slot until it is released."""

    JOB_TYPE = "slow"
    began, go = threading.Semaphore(0), threading.Event()

    def run(self) -> int:
        Slow.began.release()
        assert Slow.go.wait(60)
        return 200


class Mail(zerog.BaseJob):
    JOB_TYPE = "mail"
    sent: list[str] = []  # noqa: RUF012

    def run(self) -> int:
        Mail.sent.append(self.uuid)
        return 200


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    made.register(Short, Slow, Mail)
    Slow.began, Mail.sent = threading.Semaphore(0), []
    Slow.go.clear()
    yield made
    made.close()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers claim three jobs ahead, whatever these took, and keep them."""
    monkeypatch.setattr(Pace, "ahead", lambda self, now: 3)
    monkeypatch.setattr(Pace, "may_wait", lambda self, job_type: True)
    monkeypatch.setattr(fetcher, "HOARDED", 60.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("executor", ["thread", "process", "async"])
def test_a_job_that_was_cancelled_while_it_waited_for_a_slot_does_not_begin(app: zerog.App, executor: str) -> None:
    """It is claimed, so its document has status running; nothing of it runs, and it ends as cancelled."""
    with Running(app, executor=executor) as running:
        slow = app.submit("slow").uuid
        until(lambda: app.progress(slow)["status"] == "running")
        mails = app.submit_many("mail", [{}, {}])
        until(lambda: {app.progress(uuid)["status"] for uuid in mails} == {"running"})
        app.cancel(mails[0])
        until(lambda: running.worker._session._executor._cancelled)  # type: ignore[union-attr]
        app.cancel(slow)
        Slow.go.set()
        until(lambda: app.progress(mails[0])["status"] == "cancelled")
        assert app.wait(mails[1], 20).status == "succeeded"
    if executor != "process":
        assert Mail.sent == [mails[1]]
    assert app.get_job(mails[0]).attempts <= 1
    assert app.get_job(mails[0]).resultCode == 410


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("change", ["cancelled", "taken"])
def test_a_claim_that_waited_is_looked_at_again(app: zerog.App, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The worker was not notified; by its document the run is not to begin."""
    monkeypatch.setattr(fetcher, "FRESH", 0.0)
    with Running(app) as running:
        slow = app.submit("slow").uuid
        assert Slow.began.acquire(timeout=20)
        mail = app.submit("mail").uuid
        until(lambda: app.progress(mail)["status"] == "running")
        if change == "cancelled":
            monkeypatch.setattr(app.engine, "_hint", lambda head, run: None)
            app.cancel(mail)
        else:
            app.engine.rescue(mail, RunGuard.of(app.engine.read(mail)[0]), "lost", "made up: taken from this worker")
            app.cancel(mail)
        Slow.go.set()
        assert app.wait(mail, 20).status == "cancelled"
        assert app.wait(slow, 20).status == "succeeded"
        until(lambda: running.worker._session._fetcher.in_flight() == 0)  # type: ignore[union-attr]
    assert Mail.sent == []


def test_long_jobs_behind_short_ones_are_not_hoarded(app: zerog.App, tmp_path: Path) -> None:
    """A worker with one slot holds one of them, however short what it ran before was; an idle worker gets the rest."""
    other = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    other.register(Short, Slow, Mail)
    with Running(app, name="one"):
        app.submit_many("short", [{}] * 300)
        slow = app.submit_many("slow", [{}] * 8)
        assert Slow.began.acquire(timeout=30)
        with Running(other, name="two"):
            assert Slow.began.acquire(timeout=30)
            owners = {(app.engine.read(uuid)[0]["owner"] or {}).get("worker", "")[:3] for uuid in slow}
            assert {"one", "two"} <= owners
            Slow.go.set()
            assert {app.wait(uuid, 30).attempts for uuid in slow} == {1}
    other.close()


def test_short_jobs_behind_a_long_one_are_given_back(app: zerog.App, tmp_path: Path) -> None:
    """They were claimed ahead; the slot was then taken by a job that lasts, and another worker runs them."""
    other = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    other.register(Short, Slow, Mail)
    with Running(app, name="one"):
        app.submit_many("short", [{}] * 300)
        app.submit("slow")
        behind = app.submit_many("short", [{}] * 100)
        assert Slow.began.acquire(timeout=30)
        with Running(other, name="two"):
            until(lambda: {app.progress(uuid)["status"] for uuid in behind} == {"succeeded"})
        Slow.go.set()
    other.close()


def test_a_record_lists_what_its_worker_holds(app: zerog.App) -> None:
    """The nonce of a run is in it from before the claim until the end was stored."""
    with Running(app, lease=short_lease()) as running:
        slow = app.submit("slow").uuid
        assert Slow.began.acquire(timeout=20)
        nonce = app.engine.read(slow)[0]["owner"]["nonce"]

        def held() -> list[str]:
            record = app.datastore.read(worker_key(running.worker.name))
            return list(record["held"]) if record else []

        until(lambda: held() == [nonce])
        Slow.go.set()
        assert app.wait(slow, 20).status == "succeeded"
        until(lambda: held() == [])


def test_nothing_is_claimed_ahead_of_types_that_were_not_measured() -> None:
    pace = Pace(2, claims_ahead=True)
    for number in range(100):
        pace.ended("short", 0.0001, float(number))
    assert pace.ahead(99.0) > 0
    assert pace.may_wait("short") and not pace.may_wait("new")
    assert pace.ahead(99.0 + 2 * AHEAD_SECONDS) == 0, "what runs now takes longer"
    pace.gave_back(["new"])
    assert pace.ahead(99.0) == 0
    pace.ended("new", 2 * AHEAD_BELOW, 99.0)
    assert pace.ahead(99.0) == 0
    pace.ended("new", AHEAD_BELOW / 2, 99.0)
    assert pace.ahead(99.0) > 0


def test_a_worker_that_only_refuses_looks_less_and_less_often() -> None:
    """Unless it refuses a crowd, which it moves out of the way of what may fit behind it."""
    times = ClaimTimes()

    def retry_delay(refused: int) -> float:
        times.note(0.0, False, refused)
        return max(times.next_at, 0.0)

    pauses = [retry_delay(1) for _ in range(10)]
    assert pauses[0] <= SHORTEST_REFUSAL_PAUSE < LONGEST_CLAIM_PAUSE / 2 <= pauses[-1] <= LONGEST_CLAIM_PAUSE
    assert max(retry_delay(CROWD) for _ in range(10)) <= SHORTEST_REFUSAL_PAUSE
    assert retry_delay(1) <= 2 * SHORTEST_REFUSAL_PAUSE, "it begins anew"


def test_nothing_is_claimed_ahead_where_each_claim_costs_a_call() -> None:
    pace = Pace(2, claims_ahead=False)
    for number in range(100):
        pace.ended("short", 0.0001, float(number))
    assert pace.ahead(99.0) == 0
