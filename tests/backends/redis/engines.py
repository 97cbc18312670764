"""Engines on Redis servers, and short words for what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

import zerog
from tests.backends.redis.servers import RunningServer
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.records.job import new_document
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0)


class Count(zerog.BaseJob):
    JOB_TYPE = "count"

    def run(self) -> None:
        self.record_event("ran")


class LookingEngine(RedisEngine):
    """One that reads each job before it claims it, as it does with types that the worker doesn't list."""

    def step(
        self, settlements: Sequence[Settlement], want: int, worker: WorkerIdentity, *args: Any, **more: Any
    ) -> tuple[list[bool], list[Claim]]:
        return super().step(settlements, want, replace(worker, knows=()), *args, **more)


def client(server: RunningServer) -> redis.Redis:
    return redis.Redis(port=server.port)


def engine_on(url: str, clock: ManualClock | None = None) -> RedisEngine:
    datastore = RedisDatastore(url, clock) if clock else RedisDatastore(url)
    engine = RedisEngine(datastore, RedisQueue(datastore.server))
    if clock:
        engine.clock = clock
    return engine


def submitted(engine: RedisEngine, **fields: object) -> str:
    document = {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}
    engine.submit([document])
    return str(document["uuid"])


def claimed(engine: RedisEngine, want: int) -> list[str]:
    return [claim.uuid for claim in engine.claim(want, ALICE, lambda head: head["jobType"])]
