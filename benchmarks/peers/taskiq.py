"""Taskiq on Redis streams (acknowledged) with the Redis result backend."""

NAME = "taskiq"
REQUIRES = ["taskiq", "taskiq-redis"]
MODULE = "taskiq"
VARIANTS = {"stream": "redis", "list": "redis"}
BULK = "asyncio.gather of kiq, 100 at a time"
RESULTS = "RedisAsyncResultBackend; no state before the end"
PROGRESS = "ProgressTracker.set_progress; events as a list in its meta, for want of a log"

import asyncio
import os

from taskiq import TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

import bench_job

URL = os.environ["BENCH_REDIS"]
if bench_job.VARIANT == "list":
    broker = ListQueueBroker(URL)
else:  # consumer_id 0: jobs that were sent before the first worker count
    faults = {"idle_timeout": 10000, "unacknowledged_lock_timeout": 10} if bench_job.MODE == "faults" else {}
    broker = RedisStreamBroker(URL, consumer_id="0", **faults)
broker = broker.with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=600))


@broker.task(task_name="noop")
async def noop(n: int, payload: str) -> None:
    bench_job.record(n)


@broker.task(task_name="sleep")
async def sleep(n: int, payload: str) -> None:
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


@broker.task(task_name="progress")
async def progress(n: int, payload: str, tracker: ProgressTracker = TaskiqDepends()) -> None:
    events = []
    for what, i in bench_job.updates():
        if what == "progress":
            await tracker.set_progress(TaskState.STARTED, {"progress": i})
        else:
            events.append(bench_job.event(i))
            await tracker.set_progress(TaskState.STARTED, {"progress": 1, "events": events})


TASKS = {"noop": noop, "sleep": sleep, "progress": progress}


async def connect():
    await broker.startup()


async def close():
    await broker.shutdown()


async def put(kind, n, payload):
    await TASKS[kind].kiq(n, payload)


async def put_many(kind, numbers, payload):
    for i in range(0, len(numbers), 100):
        await asyncio.gather(*(TASKS[kind].kiq(n, payload) for n in numbers[i : i + 100]))


def worker(p, c):
    return [
        [
            "taskiq",
            "worker",
            "bench_app:broker",
            "--workers",
            str(p),
            "--max-async-tasks",
            str(c),
            "--log-level",
            "WARNING",
        ]
    ]


async def left():
    import redis.asyncio

    r = redis.asyncio.Redis.from_url(URL)
    if bench_job.VARIANT == "list":
        return {"queued": await r.llen("taskiq")}
    info = await r.xinfo_groups("taskiq")
    return {"pending": info[0]["pending"], "queued": info[0]["lag"] or 0}
