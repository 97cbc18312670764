"""Rules of engines: turns of queues and priorities, and waiting for all queues of a worker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic

import pytest

from zerog.contracts.queue import FAIR_SHARE
from zerog.engine.engine import Engine
from zerog.testing.contracts.engine.builders import ALICE, EngineRules, accept

PATIENCE = 20.0
"""Seconds after which a wait counts as endless."""

AT_ONCE = 0.5
"""Seconds within which a waiting worker must be woken for a job: less than the second by which adapters poll."""


class TurnRules(EngineRules):
    """Rules for the order of queues and priorities, and for the share of the low ones.

    ``has_shares``: the engine's queue can find the oldest entry of the lowest priority. ``has_queues``: there can be
    several queues. Both only matter for a queue that is ``lossless``.
    """

    has_shares = True
    has_queues = True

    def in_turn(self, engine: Engine, batches: list[int], *queues: str) -> list[str]:
        """Return the uuids of claims of these sizes, one claim after the other."""
        return [claim.uuid for want in batches for claim in engine.claim(want, ALICE, accept, queues)]

    @pytest.mark.parametrize("want", [1, 4, 7, 40], ids=lambda want: f"{want}-at-once")
    def test_a_low_priority_gets_its_share(self, engine: Engine, want: int) -> None:
        """While high ones never end, every FAIR_SHARE-th job is the oldest of the lowest priority."""
        if not (self.lossless and self.has_shares):
            pytest.skip("this queue doesn't know its lowest priority")
        low = [self.submitted(engine, priority=-1) for _ in range(3)]
        middle = [self.submitted(engine) for _ in range(5)]
        high = [self.submitted(engine, priority=7) for _ in range(40)]
        order = self.in_turn(engine, [want] * (-(-4 * FAIR_SHARE // want)))[: 4 * FAIR_SHARE]
        assert [number for number, uuid in enumerate(order) if uuid not in high] == [
            FAIR_SHARE - 1,
            2 * FAIR_SHARE - 1,
            3 * FAIR_SHARE - 1,
            4 * FAIR_SHARE - 1,
        ]
        assert [uuid for uuid in order if uuid not in high] == [*low, middle[0]]
        assert [uuid for uuid in order if uuid in high] == high[: 4 * (FAIR_SHARE - 1)]

    @pytest.mark.parametrize("want", [1, 6, 40], ids=lambda want: f"{want}-at-once")
    def test_a_late_queue_gets_its_share(self, engine: Engine, want: int) -> None:
        """Queues are served in the order in which the worker names them, except every FAIR_SHARE-th job."""
        self.require_queues()
        slow = [self.submitted(engine, queueName="slow") for _ in range(5)]
        between = [self.submitted(engine, queueName="between") for _ in range(5)]
        quick = [self.submitted(engine, queueName="quick") for _ in range(2 * FAIR_SHARE)]
        order = self.in_turn(engine, [want] * (-(-2 * FAIR_SHARE // want)), "quick", "between", "slow")[
            : 2 * FAIR_SHARE
        ]
        assert [number for number, uuid in enumerate(order) if uuid in slow] == [FAIR_SHARE - 1, 2 * FAIR_SHARE - 1]
        assert [uuid for uuid in order if uuid in slow] == slow[:2]
        assert [uuid for uuid in order if uuid in quick] == quick[: 2 * (FAIR_SHARE - 1)]
        assert not set(order).intersection(between)

    def test_the_share_goes_to_the_last_queue_that_has_any(self, engine: Engine) -> None:
        """An empty last queue passes its turn on, and no turn is left unused."""
        self.require_queues()
        between = [self.submitted(engine, queueName="between") for _ in range(2)]
        quick = [self.submitted(engine, queueName="quick") for _ in range(2 * FAIR_SHARE)]
        order = self.in_turn(engine, [2 * FAIR_SHARE + 2], "quick", "between", "slow")
        assert [number for number, uuid in enumerate(order) if uuid in between] == [FAIR_SHARE - 1, 2 * FAIR_SHARE - 1]
        assert sorted(order) == sorted(between + quick)

    def test_one_priority_on_one_queue_is_ordered_by_age(self, engine: Engine) -> None:
        """Without a lower priority the share changes nothing."""
        if not self.lossless:
            pytest.skip("this queue reorders")
        uuids = [self.submitted(engine) for _ in range(3 * FAIR_SHARE)]
        assert self.in_turn(engine, [1, 12, 7, 40]) == uuids

    @pytest.mark.parametrize("queue_name", ["quick", "between", "slow"])
    def test_every_queue_of_a_worker_wakes_it(self, engine: Engine, queue_name: str) -> None:
        """A wait for several queues ends at once when a job is put on any of them, and the job can be claimed."""
        self.require_queues()
        queues = ("quick", "between", "slow")
        delays = []
        for _ in range(3):
            while engine.wait_ready(0.01, queues):
                pass  # woken by what was put before; a wait may end early
            wait = threading.Thread(target=wait_for_a_job, args=(engine, queues))
            wait.start()
            wait.join(0.1)
            assert wait.is_alive(), "the wait ended without a job"
            begun = monotonic()
            uuid = self.submitted(engine, queueName=queue_name)
            wait.join(PATIENCE)
            delays.append(monotonic() - begun)
            assert self.in_turn(engine, [1], *queues) == [uuid]
        assert min(delays) < AT_ONCE, delays
        engine.close()

    def test_a_wait_for_several_queues_can_be_ended(self, engine: Engine) -> None:
        """``wake`` ends it, and so does its timeout."""
        self.require_queues()
        queues = ("quick", "slow")
        assert not engine.wait_ready(0.01, queues)
        wait = threading.Thread(target=engine.wait_ready, args=(PATIENCE, queues))
        began = monotonic()
        wait.start()
        while wait.is_alive():  # it may not have begun to wait yet
            engine.wake(queues)
            wait.join(0.05)
        assert monotonic() - began < PATIENCE / 8, "the end of the wait was not noticed"
        engine.close()

    def require_queues(self) -> None:
        """Skip a rule about several queues if there is only one, or if deliveries get lost."""
        if not (self.lossless and self.has_queues):
            pytest.skip("this engine's queue has no others beside it, or loses deliveries")


def wait_for_a_job(engine: Engine, queues: Sequence[str]) -> None:
    """Wait until a job may be claimed. A wait may end early without one."""
    deadline = monotonic() + PATIENCE
    while not engine.wait_ready(PATIENCE, queues) and monotonic() < deadline:
        pass
