"""arq: asyncio on Redis."""

NAME = "arq"
REQUIRES = ["arq"]
MODULE = "arq"
VARIANTS = {"default": "redis", "poll10ms": "redis"}  # it polls, every 500 ms by default
BULK = "asyncio.gather of enqueue_job, 100 at a time"
RESULTS = "result key, keep_result 3600 s; no state stored while running but an in-progress mark"
PROGRESS = None

import asyncio
import os

from arq import create_pool
from arq.connections import RedisSettings

import bench_job

settings = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def noop(ctx, n, payload):
    bench_job.record(n)


async def sleep(ctx, n, payload):
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


class WorkerSettings:
    functions = [noop, sleep]
    redis_settings = settings
    max_jobs = int(os.environ.get("ARQ_MAX_JOBS", "10"))
    log_results = False
    poll_delay = 0.01 if bench_job.VARIANT == "poll10ms" else 0.5
    if bench_job.MODE == "faults":
        job_timeout = 10
        job_completion_wait = 5
        max_tries = 10


async def connect():
    global pool
    pool = await create_pool(settings)


async def close():
    await pool.aclose()


async def put(kind, n, payload):
    await pool.enqueue_job(kind, n, payload)


async def put_many(kind, numbers, payload):
    for i in range(0, len(numbers), 100):
        await asyncio.gather(*(pool.enqueue_job(kind, n, payload) for n in numbers[i : i + 100]))


def worker(p, c):
    return [["env", f"ARQ_MAX_JOBS={c}", "arq", "bench_app.WorkerSettings", "--custom-log-dict", "bench_app.QUIET"]] * p


QUIET = {"version": 1, "disable_existing_loggers": False}


async def left():
    await connect()
    return {"queued": await pool.zcard("arq:queue")}
