"""SAQ: asyncio on Redis."""

NAME = "saq"
REQUIRES = ["saq[redis]", "typing_extensions"]  # saq imports the latter without asking for it
MODULE = "saq"
VARIANTS = {"redis": "redis"}
BULK = "asyncio.gather of enqueue, 100 at a time"
RESULTS = "job document in Redis, updated at start and end, ttl 600 s"
PROGRESS = "job.update(progress=) and job.update(meta=); events as a list in meta, for want of a log"

import asyncio
import os

from saq import Queue

import bench_job

queue = Queue.from_url(os.environ["BENCH_REDIS"])
OPTIONS = {"retries": 5, "timeout": 10, "heartbeat": 2} if bench_job.MODE == "faults" else {}


async def noop(ctx, *, n, payload):
    bench_job.record(n)


async def sleep(ctx, *, n, payload):
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


async def progress(ctx, *, n, payload):
    job, events = ctx["job"], []
    for what, i in bench_job.updates():
        if what == "progress":
            await job.update(progress=i / 1000)
        else:
            events.append(bench_job.event(i))
            await job.update(meta={"events": events})


settings = {
    "queue": queue,
    "functions": [noop, sleep, progress],
    "concurrency": int(os.environ.get("SAQ_CONCURRENCY", "10")),
}
if bench_job.MODE == "faults":
    settings["timers"] = {"sweep": 5}
    settings["shutdown_grace_period_s"] = 5


async def connect():
    await queue.connect()


async def close():
    await queue.disconnect()


async def put(kind, n, payload):
    await queue.enqueue(kind, n=n, payload=payload, **({"timeout": 150} if kind == "progress" else OPTIONS))


async def put_many(kind, numbers, payload):
    for i in range(0, len(numbers), 100):
        await asyncio.gather(*(queue.enqueue(kind, n=n, payload=payload, **OPTIONS) for n in numbers[i : i + 100]))


def worker(p, c):
    return [["env", f"SAQ_CONCURRENCY={c}", "saq", "bench_app.settings", "--workers", str(p), "--quiet"]]


async def left():
    return {kind: await queue.count(kind) for kind in ("queued", "active", "incomplete")}
