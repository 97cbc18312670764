"""beanstalkd killed, restarted, hung and cut off: what is reported, what comes again, and what becomes of the jobs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

import zerog
from tests.backends.beanstalkd.proxy import CuttingProxy
from tests.backends.beanstalkd.servers import RunningServer, clocked_queue, shared, started, url_at
from tests.engine import crash_scenario
from tests.marks import wide
from tests.processes import stretched
from tests.support.interrupts import interrupt_everywhere
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.contracts.queue import Entry
from zerog.engine.engine import Engine
from zerog.exceptions import QueueError, QueueUnavailable, ReservationLost
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server that writes each put to the disk before it answers."""
    server = started("-b", ".", "-f", "0")
    yield server
    server.kill()


class Small(zerog.BaseJob):
    JOB_TYPE = "small"

    def run(self) -> int:
        return 200


def test_a_restart(server: RunningServer) -> None:
    """While the server is gone every verb reports it; afterwards the same objects work, and all entries are back."""
    queue = BeanstalkdQueue(server.url())
    uuids = [new_uuid(), new_uuid()]
    identities = [queue.put(uuid) for uuid in uuids]
    reservation = queue.reserve()
    assert reservation is not None
    server.kill()
    with pytest.raises(ReservationLost):
        reservation.delete()
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, lambda: queue.reserve(5)):
        with pytest.raises(QueueUnavailable, match=str(server.port)):
            call()
    server.start()
    assert queue.size() == 2
    entries = [Entry(identity, uuid) for identity, uuid in zip(identities, uuids, strict=True)]
    assert queue.holds_all(entries) == [True, True]
    for uuid in uuids:
        again = queue.reserve()
        assert again is not None and again.uuid == uuid
        again.delete()
    queue.close()


def test_a_wait_ends_with_the_server(server: RunningServer) -> None:
    queue = BeanstalkdQueue(server.url())
    queue.size()
    ended: list[Exception] = []

    def wait() -> None:
        try:
            queue.reserve(3600)
        except QueueUnavailable as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    server.kill()
    thread.join(stretched(20))
    assert ended and str(server.port) in str(ended[0])
    queue.close()


def test_a_restart_without_the_log() -> None:
    """Entries are gone, and ids are given again: an old one is not taken for the new entry of another job."""
    server = started()
    queue = BeanstalkdQueue(server.url())
    old = Entry(queue.put(uuid := new_uuid()), uuid)
    server.kill()
    server.start()
    new = Entry(queue.put(uuid := new_uuid()), uuid)
    assert old.id == new.id
    assert queue.holds_all([old, new]) == [False, True]
    queue.close()
    server.kill()


def test_jobs_of_a_server_that_lost_its_entries() -> None:
    """The sweep finds that each is gone, and puts its job again at once."""
    server, clock = started(), ManualClock()
    app = zerog.App(datastore="memory://", queue=BeanstalkdQueue(server.url()), clock=clock)
    app.register(Small)
    uuids = [app.submit("small").uuid for _ in range(3)]
    server.kill()
    server.start()
    clock.advance(6)
    assert sorted(app.reconcile().put_again) == sorted(uuids)
    assert zerog.Worker(app).run(burst=True).succeeded == 3
    app.close()
    server.kill()


def test_submit_while_the_queue_is_away(server: RunningServer) -> None:
    """The job is accepted, and delivered later."""
    app = zerog.App(datastore="memory://", queue=server.url())
    app.register(Small)
    server.kill()
    job = app.submit("small")
    assert (job.queueState, job.queueJobId) == ("pending", -1)
    server.start()
    app.engine.put_again_all([job.uuid], "the queue is back")
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    app.close()


def test_a_hung_server(server: RunningServer) -> None:
    """No call waits longer than the URL's timeout, beside the second of one wait by the server."""
    queue = BeanstalkdQueue(server.url(timeout=0.3))
    queue.put(new_uuid())
    server.signal(signal.SIGSTOP)
    calls: tuple[Callable[[], object], ...] = (lambda: queue.put(new_uuid()), queue.reserve, lambda: queue.reserve(9))
    for call in calls:
        with pytest.raises(QueueUnavailable, match="TimeoutError"):
            call()
    server.signal(signal.SIGCONT)
    assert queue.reserve(20) is not None
    queue.close()


def test_a_put_whose_answer_is_lost_can_be_repeated(server: RunningServer) -> None:
    """It may then be there twice, which the document distinguishes from a second job."""
    queue = BeanstalkdQueue(server.url(timeout=0.3))
    uuid = new_uuid()
    queue.size()
    server.signal(signal.SIGSTOP)
    with pytest.raises(QueueUnavailable, match="or its answer was lost"):
        queue.put(uuid)
    server.signal(signal.SIGCONT)
    queue.put(uuid)
    reservations = [queue.reserve(1), queue.reserve(1)]
    assert {reservation.uuid for reservation in reservations if reservation} == {uuid}
    queue.close()


def test_a_cut_between_delivery_and_claim() -> None:
    """The entry comes again at once, its first consumer can't settle it, and the job runs once."""
    clock, port = ManualClock(), int((shared() / "port").read_text())
    proxy = CuttingProxy(port, 10**9)
    engine = Engine(MemoryDatastore(), clocked_queue(url_at(proxy.port), clock), clock)
    lives = crash_scenario.Lives(engine)
    document = crash_scenario.new_document("test", 1.0, crash_scenario.to_text(clock.now()))
    engine.submit([document])
    delivery = engine.queue.reserve()
    assert delivery is not None
    proxy.end_all()
    again = engine.queue.reserve(20)
    assert again is not None and again.uuid == delivery.uuid == document["uuid"]
    claim = engine.claim_one(delivery, crash_scenario.FIRST, crash_scenario.accept)
    assert claim is not None, "the document decides, not the delivery"
    assert engine.claim_one(again, crash_scenario.SECOND, crash_scenario.accept) is None
    lives.finish(claim)
    assert engine.queue.size() == 0
    assert engine.read(document["uuid"])[0]["attempts"] == 1
    engine.close()
    proxy.close()


@pytest.mark.parametrize(
    "step", [2003, *wide(101), pytest.param(7, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_cut_at_any_byte(step: int, tmp_path: Path) -> None:
    """Submit, claim, requeue, rescue, retry and set aside: whatever was on its way, each accepted job ends once."""
    port = int((shared() / "port").read_text())
    for cut in count(0, step):
        clock, proxy = ManualClock(), CuttingProxy(port, cut)
        engine = Engine(MemoryDatastore(), clocked_queue(url_at(proxy.port), clock), clock)
        accepted = tmp_path / f"{cut}"
        with suppress(QueueError, KeyError):  # KeyError: a claim that it needed was not made
            crash_scenario.Lives(engine, accepted).play()
        has_cut = proxy.cut_no_more()
        clock.advance(31)
        crash_scenario.recover(engine, clock)
        lines = accepted.read_text().split() if accepted.exists() else []
        crash_scenario.check(engine, [line for line in lines if f"-{line}" not in lines and line[0] != "-"])
        engine.close()
        proxy.close()
        if not has_cut:
            break
    assert cut > 3_000, f"the scenario passes {cut} bytes"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that were not closed by a call
@pytest.mark.parametrize("step", [7, *wide(1)])
def test_an_exception_at_any_point(server: RunningServer, step: int) -> None:
    """An exception out of a signal's handler leaves nothing held, and no answer for the next call."""
    queue = BeanstalkdQueue(server.url())

    def use() -> None:
        uuid = new_uuid()
        identity = queue.put(uuid)
        assert queue.holds(Entry(identity, uuid)) is True
        while (reservation := queue.reserve()) is not None:
            reservation.delete()

    ended: list[bool] = []

    def check() -> None:
        thread = threading.Thread(target=lambda: ended.append(use() is None), daemon=True)
        thread.start()
        thread.join(60)
        assert ended.pop(), "it raised, or waits for something that is held"

    assert interrupt_everywhere(use, check, step=step) > 5
    queue.close()
