"""Huey on Redis and on SQLite, worker threads."""

NAME = "huey"
REQUIRES = ["huey", "redis"]
MODULE = "huey"
VARIANTS = {"redis": "redis", "sqlite": "none", "sqlite-poll10ms": "none"}  # SQLite: polls, 0.1 to 10 s
BULK = None  # TaskWrapper.map enqueues one by one
RESULTS = "result store (store_none, so that a job without a value leaves a mark)"
PROGRESS = None

import os
import time

from huey import RedisHuey, SqliteHuey

import bench_job

if bench_job.VARIANT == "redis":
    huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], store_none=True)
else:
    huey = SqliteHuey("bench", filename=os.path.join(os.environ["BENCH_DIR"], "huey.db"), store_none=True)


@huey.task(retries=3 if bench_job.MODE == "faults" else 0)
def noop(n, payload):
    bench_job.record(n)


@huey.task(retries=3 if bench_job.MODE == "faults" else 0)
def sleep(n, payload):
    time.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


TASKS = {"noop": noop, "sleep": sleep}


def connect():
    huey.pending_count()


def put(kind, n, payload):
    TASKS[kind](n, payload)


def worker(p, c):
    one = ["huey_consumer", "bench_app.huey", "-q", "-n", "-g", "TERM", "-k", "thread", "-w", str(c)]
    if bench_job.VARIANT == "sqlite-poll10ms":
        one[1:1] = ["-d", "0.01", "-m", "0.01"]
    if p > 1 and c == 1:
        return [[*one[:-3], "process", "-w", str(p)]]
    return [one] * p


def left():
    return {"queued": huey.pending_count(), "scheduled": huey.scheduled_count()}
