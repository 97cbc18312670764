"""Entries that lead to no job, as foreign programs could write them, for each queue that has a server or a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.rq.queue import RqQueue
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.contracts.queue import Queue
from zerog.records.job import new_uuid

Writers = dict[str, Callable[[], Any]]


def bad_entries(queue: Queue) -> Writers:
    """By defect, a function that writes a bad entry."""
    if isinstance(queue, SqliteQueue):
        return _on_sqlite(queue)
    if isinstance(queue, RedisQueue):
        return _on_redis(queue)
    if isinstance(queue, RqQueue):
        return _on_rq(queue)
    if isinstance(queue, BeanstalkdQueue):
        return _on_beanstalkd(queue)
    assert isinstance(queue, MemoryQueue)
    bodies = ("", "x", "\x00", "é" * 36, "x" * 1_000_000, new_uuid().upper())
    return {repr(body[:9]): partial(queue.put_raw, body) for body in bodies}


def _on_sqlite(queue: SqliteQueue) -> Writers:
    def write(**expressions: str) -> None:
        row = {"queue": f"'{queue.name}'", "uuid": f"'{new_uuid()}'", **expressions}
        with sqlite3.connect(queue.file.path) as connection:
            connection.execute(f"INSERT INTO zerog_queue ({', '.join(row)}) VALUES ({', '.join(row.values())})")
        connection.close()

    wrong = {
        "uuid": ["NULL", "5", "1.5", "x'ff'", "''", "CAST(x'ff' AS TEXT)", f"CAST({'x' + repr('ff' * 36)} AS TEXT)"],
        "priority": ["'high'", "1.5", "x'00'", "9e18 * 10"],
        "ttr": ["'long'", "0", "-1", "1e308", "9e999", "x'00'", "''"],
        "due": ["'soon'", "-5", "9e999", "1e300", "x'00'", "''"],
    }
    wrong["uuid"] += ["zeroblob(2000000)", "printf('%.*c', 2000000, 'x')", f"upper('{new_uuid()}')"]
    return {
        f"{column} {expression[:20]}": partial(write, **{column: expression})
        for column, expressions in wrong.items()
        for expression in expressions
    }


def _on_redis(queue: RedisQueue) -> Writers:
    def write(entry: str | bytes, score: str = "0", place: str = "ready") -> None:
        queue.server.ask("a test", "ZADD", f"{queue.server.prefix}q:{queue.name}:{place}", score, entry)

    uuid = new_uuid()
    entries: list[str | bytes] = ["", "x", b"\xff\x00", b"\xff" * 99, "x" * 1_000_000, uuid, f":::{uuid}"]
    for ttr in ("0", "-1", "1e308", "9e999", "nan", "inf", "", "e", "1e5e", "0x10"):
        entries.append(f"n000000000900001:0:{ttr}:{uuid}")
    for priority in ("", "high", "1.5", "9" * 30, "nan"):
        entries.append(f"n000000000900002:{priority}:60.0:{uuid}")
    for order in ("", "x1", "n", "n-5"):
        entries.append(f"{order}:0:60.0:{uuid}")
    for body in ("", "x", uuid.upper(), f"{uuid}x", f"x{uuid}", "\x00" * 36):
        entries.append(f"n000000000900003:0:60.0:{body}")
    entries.append(b"n000000000900004:0:60.0:" + b"\xff" * 36)
    writers = {f"{entry[:40]!r}": partial(write, entry) for entry in entries}
    for score in ("inf", "-inf", "1e308"):
        writers[f"score {score}"] = partial(write, f"score {score}", score)
    writers["due"] = partial(write, b"due \xff", "1", "later")
    return writers


def _on_rq(queue: RqQueue) -> Writers:
    client = queue.server.client()

    def write(entry: bytes) -> None:
        client.rpush(f"rq:queue:{queue.name}", entry)

    uuid = new_uuid().encode()
    entries = [b"", b"x", b"\xff\x00", b"x" * 1_000_000, uuid, uuid + b"_", uuid.upper() + b"_0123456789ab"]
    return {f"{entry[:40]!r}": partial(write, entry) for entry in entries}


def _on_beanstalkd(queue: BeanstalkdQueue) -> Writers:
    def write(body: bytes) -> None:
        with queue.server.connection(queue.tube, "a test") as connection:
            connection.client.put(body)

    uuid = new_uuid().encode()
    bodies = [b"", b"x", b"\x00", b"\xff" * 36, b"\r\n", b"x" * 1_000_000, uuid.upper(), uuid + b"\n", uuid + uuid]
    return {f"{body[:40]!r}": partial(write, body) for body in bodies}
