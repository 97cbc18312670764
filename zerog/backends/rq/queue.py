"""Uuids on ordinary RQ queues, for ``zerog worker`` and for RQ's own worker.

An entry is an RQ job made by RQ's own calls: a JSON payload that names ``ENTRY`` and has the uuid as its only argument,
no time-out, no stored result. Its id is ``<uuid>_<nonce>``, new with each put, so that ``reserve`` needs ids only and
never reads a payload. Foreign RQ jobs are left where they are, for the workers that understand them.

A reserved entry leaves RQ's list for a sorted set of ZeroG's own, from which any consumer returns it once its time is
over; RQ's own places for it would make RQ mark the job failed. Delayed entries are in RQ's scheduled registry with a
fraction of a second in their time, and are returned by the first that polls, RQ's scheduler or a consumer here.

RQ has no priorities within a queue: an entry of a priority above 0 is put at the front, any other at the back.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zerog.backends.rq.scripts import HOLDS, REJECTED, RESERVE, SETTLE, TIDY
from zerog.contracts.queue import DEFAULT, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    InvalidValue,
    QueueUnavailable,
    ReservationLost,
)
from zerog.records.job import check_uuid
from zerog.support.clock import SYSTEM, Clock
from zerog.support.extras import how_to_install

try:
    import rq
    from rq.defaults import RQ_KEY_PREFIX
    from rq.job import Job, JobStatus
    from rq.serializers import JSONSerializer
    from rq.suspension import WORKERS_SUSPENDED

    from zerog.backends.redis.server import RedisServer
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"rq+redis:// needs rq and the redis client, which can't be imported ({error}); {how_to_install('rq')}"
    ) from None

if TYPE_CHECKING:
    import redis

log = logging.getLogger("zerog")

ENTRY = "zerog.rqworker.perform"
"""The function that every entry names. Entries outlive releases, so it never changes."""

FAILURE_TTL = 60
"""Seconds for which RQ shows an entry as failed whose worker died; another worker runs the job again."""

BLOCK = 1.0
"""Seconds of one blocking pop. A longer wait is several, with checks of times and ``wake`` in between."""

PAUSE = 0.2
"""Seconds between two polls of a queue that can't be waited for: suspended, or with foreign jobs in front."""

TIDYING = 10.0
"""Seconds between two checks by one object for entries left by dead consumers."""

RESERVED = ":intermediate"
"""End of the name of the list beside a queue's in which RQ keeps the entries that its workers take."""

IN_THE_WAY = {
    "suspended": "RQ is suspended, nothing is taken until `rq resume`",
    "foreign": "there are RQ jobs of others, which are left to RQ's workers",
}
"""Reasons why nothing is taken although something waits."""


class RqQueue(Queue):
    """The RQ queue ``name`` on the server of a URL, for example ``redis://localhost:6379/0``."""

    sets_aside = False

    def __init__(self, server: RedisServer | str, name: str = DEFAULT, clock: Clock = SYSTEM) -> None:
        if name.endswith(RESERVED):
            raise InvalidValue(
                f"queue={name!r:.80} names a list that RQ keeps beside another queue; expected a name that doesn't end "
                f"in {RESERVED!r}. Nothing was stored."
            )
        self.name = name
        self.server = RedisServer(server, clock) if isinstance(server, str) else server
        self._clock = self.server.clock
        self._woken = threading.Event()
        self._rejecting = threading.Lock()
        self._tidied = -math.inf
        self._way = ""
        self._rq: rq.Queue | None = None
        zerog = f"{RQ_KEY_PREFIX}:zerog"
        self._queue_key = f"{rq.Queue.redis_queue_namespace_prefix}{name}"
        self._scheduled_key = f"{RQ_KEY_PREFIX}:scheduled:{name}"
        self._reserved_key, self._held_key = f"{zerog}:reserved:{name}", f"{zerog}:held:{name}"
        self._popped_key, self._rejected_key = f"{zerog}:popped:{name}", f"{zerog}:rejected:{name}"
        self.rejects = f"the list {self._rejected_key}"

    def queue_named(self, name: str) -> RqQueue:
        return self if name == self.name else RqQueue(self.server, name)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> str:
        uuid = check_uuid(uuid)
        check_options(delay, priority, ttr)
        at_front = front or priority > 0
        identity = f"{uuid}_{os.urandom(6).hex()}"
        options: dict[str, Any] = {
            "args": (uuid,),
            "timeout": -1,
            "result_ttl": 0,
            "failure_ttl": FAILURE_TTL,
            "description": uuid,
        }
        with self._translated(f"{uuid} was not put on {self.name}, or its answer was lost"):
            queue = self._rq_queue()
            with queue.connection.pipeline() as pipeline:
                if delay > 0:
                    self._schedule(queue, pipeline, delay, at_front, identity, options)
                else:
                    data = rq.Queue.prepare_data(ENTRY, job_id=identity, at_front=at_front, **options)
                    queue.enqueue_many([data], pipeline=pipeline)
                if ttr is not None:
                    pipeline.hset(Job.key_for(identity), "zerog_ttr", repr(float(ttr)))
                pipeline.execute()
        return identity

    def reserve(self, timeout: float = 0) -> Reservation | None:
        deadline = self._clock.monotonic() + timeout
        given: bytes = b""
        with self._translated(f"queue {self.name}"):
            self._tidy_now_and_then()
            while True:
                reservation, soonest, in_the_way = self._reserve_now(given)
                left = deadline - self._clock.monotonic()
                if reservation is not None or left <= 0:
                    return reservation
                if self._woken.is_set():
                    self._woken.clear()
                    return None
                longest = min(left, BLOCK) if soonest < 0 else min(left, BLOCK, soonest)
                given = b"" if in_the_way else self._pop(longest)
                if in_the_way:
                    self._woken.wait(min(longest, PAUSE))
                elif not given and not 0 <= soonest <= left and deadline <= self._clock.monotonic():
                    return None  # nothing was put, and nothing has returned

    def wake(self) -> None:
        self._woken.set()

    def size(self) -> int:
        """Return the number of entries: waiting, delayed and reserved; foreign jobs on the RQ queue count, too."""
        with self._translated(f"queue {self.name}"):
            self._tidy_now_and_then()
            with self._client().pipeline() as pipeline:
                pipeline.llen(self._queue_key)
                pipeline.zcard(self._scheduled_key)
                pipeline.zcard(self._reserved_key)
                return int(sum(pipeline.execute()))

    def holds(self, entry: Entry) -> bool | None:
        return self.holds_all([entry])[0]

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        if not entries:
            return []
        keys = [self._queue_key, f"{self._queue_key}:intermediate", self._popped_key]
        keys += [self._scheduled_key, self._reserved_key]
        ids = [str(entry.id) if str(entry.id).startswith(f"{entry.uuid}_") else "" for entry in entries]
        with self._translated(f"queue {self.name}"):
            return [answer == 1 for answer in self._run(HOLDS, keys, *ids)]

    def close(self) -> None:
        self._rq = None
        self.server.close()

    def tidy(self) -> None:
        """Return to the queue what dead consumers left in RQ's places for work in progress. Raises QueueUnavailable."""
        wip, failed = f"{RQ_KEY_PREFIX}:wip:{self.name}", f"{RQ_KEY_PREFIX}:failed:{self.name}"
        keys = [self._queue_key, wip, f"{self._queue_key}:intermediate", self._popped_key]
        keys += [self._reserved_key, self._held_key, failed, self._rejected_key]
        with self._translated(f"queue {self.name}"):
            self._count_rejected(self._run(TIDY, keys, RQ_KEY_PREFIX))

    def set_aside(self, identity: str) -> None:
        """Move an entry that one of RQ's workers has taken and can't read to the rejected ones."""
        with self._translated(f"queue {self.name}"), self._client().pipeline() as pipeline:
            pipeline.lrem(f"{self._queue_key}:intermediate", 1, identity)
            pipeline.lpush(self._rejected_key, identity)
            pipeline.ltrim(self._rejected_key, 0, REJECTED - 1)
            pipeline.execute()
        self._count_rejected(1)

    def _count_rejected(self, count: int) -> None:
        with self._rejecting:
            self.reject(count)

    def _tidy_now_and_then(self) -> None:
        now = self._clock.monotonic()
        if now - self._tidied >= TIDYING:
            self._tidied = now
            self.tidy()

    def _schedule(
        self, queue: rq.Queue, pipeline: Any, delay: float, at_front: bool, identity: str, options: dict[str, Any]
    ) -> None:
        due = self.server.now().timestamp() + delay
        job = queue.create_job(ENTRY, status=JobStatus.SCHEDULED, job_id=identity, **options)
        if at_front:
            job.enqueue_at_front = True
        # RQ truncates times to whole seconds, which would be early.
        queue.schedule_job(job, datetime.fromtimestamp(math.ceil(due), UTC), pipeline=pipeline)
        pipeline.zadd(self._scheduled_key, {identity: due})

    def _pop(self, seconds: float) -> bytes:
        """Wait for an id; it is then in a list of ZeroG's own, so that it isn't lost with this process."""
        limit: Any = max(0.001, seconds)  # typed as int in redis-py; servers since 6.0 take fractions
        popped: Any = self._client().blmove(self._queue_key, self._popped_key, limit)
        return popped or b""

    def _reserve_now(self, given: bytes) -> tuple[Reservation | None, float, bool]:
        """Return the next entry; seconds until another one returns (-1: none); whether something blocks the queue."""
        token = os.urandom(8).hex()
        keys = [self._queue_key, self._scheduled_key, self._reserved_key, self._held_key]
        keys += [self._popped_key, WORKERS_SUSPENDED, self._rejected_key]
        identity, aside, soonest, way = self._run(RESERVE, keys, token, given)
        self._count_rejected(aside)
        self._note_way(way.decode())
        reservation = _RqReservation(self, identity.decode(), token) if identity else None
        return reservation, float(soonest), bool(way)

    def _note_way(self, way: str) -> None:
        """Log what blocks the queue, once until it changes."""
        if way != self._way:
            self._way = way
            if way:
                log.warning("queue %s: %s", self.name, IN_THE_WAY[way])

    def settle(self, identity: str, token: str, verb: str, delay: float = 0) -> None:
        """Delete or release an entry that is reserved under ``token``. Raises ReservationLost."""
        keys = [self._queue_key, self._scheduled_key, self._reserved_key, self._held_key]
        with self._translated(f"entry {identity} of queue {self.name}"):
            is_done: int = self._run(SETTLE, keys, identity, token, verb, repr(float(delay)))
        if not is_done:
            raise ReservationLost(f"entry {identity} of queue {self.name} is not reserved here any more")

    def _run(self, script: bytes, keys: list[str], *arguments: str | bytes) -> Any:
        now = repr(self._clock.now().timestamp()) if self._clock.stands_for_servers else ""
        usual = [now, Job.redis_job_namespace_prefix, repr(TTR)]
        return self.server.run(script, keys, [*usual, *arguments], f"queue {self.name}")

    def _client(self) -> redis.Redis:
        """Return a client whose timeout outlasts a blocking pop. One per process: a fork makes new connections."""
        client = self.server.client(BLOCK + self.server.timeout)
        if self._rq is None or self._rq.connection.connection_pool is not client.connection_pool:
            self._rq = rq.Queue(self.name, connection=client, serializer=JSONSerializer)
        return self._rq.connection

    def _rq_queue(self) -> rq.Queue:
        self._client()
        assert self._rq is not None
        return self._rq

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            with self.server.translated(what):
                yield
        except (DatastoreError, CorruptDocument) as error:
            raise QueueUnavailable(str(error)) from error


class _RqReservation(Reservation):
    def __init__(self, queue: RqQueue, identity: str, token: str) -> None:
        self.uuid = identity[:36]
        self._queue = queue
        self._id = identity
        self._token = token

    def delete(self) -> None:
        self._queue.settle(self._id, self._token, "delete")

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        self._queue.settle(self._id, self._token, "release", delay)
