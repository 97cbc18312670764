"""streaQ: asyncio on Redis streams."""

NAME = "streaq"
REQUIRES = ["streaq"]
MODULE = "streaq"
VARIANTS = {"redis": "redis"}
BULK = "Worker.enqueue_many"
RESULTS = "result key per task, ttl 300 s"
PROGRESS = None

import asyncio
import os

from streaq import Worker

import bench_job

FAULTS = {"idle_timeout": 10, "grace_period": 5} if bench_job.MODE == "faults" else {}
worker_ = Worker(redis_url=os.environ["BENCH_REDIS"], concurrency=int(os.environ.get("STREAQ_C", "16")), **FAULTS)


@worker_.task(name="noop")
async def noop(n: int, payload: str) -> None:
    bench_job.record(n)


@worker_.task(name="sleep")
async def sleep(n: int, payload: str) -> None:
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


TASKS = {"noop": noop, "sleep": sleep}


async def connect():
    await worker_.__aenter__()


async def close():
    await worker_.__aexit__(None, None, None)


async def put(kind, n, payload):
    await TASKS[kind].enqueue(n, payload)


async def put_many(kind, numbers, payload):
    await worker_.enqueue_many([TASKS[kind].enqueue(n, payload) for n in numbers])


def worker(p, c):
    return [["env", f"STREAQ_C={c}", "streaq", "run", "bench_app:worker_", "--workers", str(p)]]
