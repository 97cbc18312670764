"""Repid 2: asyncio on Redis streams. It has no worker command: an own script calls run_worker, as documented."""

NAME = "repid"
REQUIRES = ["repid[redis]", "typing_extensions"]  # repid imports the latter without asking for it
MODULE = "repid"
VARIANTS = {"redis": "redis"}
BULK = "asyncio.gather of send_message_json, 100 at a time"
RESULTS = "none: version 2 is a message consumer and keeps neither status nor results"
PROGRESS = None

import asyncio
import os

from repid import RedisServer, Repid, Router

import bench_job

FAULTS = {"claim_interval": 5.0, "min_idle_ms": 10000} if bench_job.MODE == "faults" else {}
app = Repid()
app.servers.register_server("default", RedisServer(os.environ["BENCH_REDIS"], **FAULTS), is_default=True)
router = Router()


@router.actor
async def noop(n: int, payload: str) -> None:
    bench_job.record(n)


@router.actor
async def sleep(n: int, payload: str) -> None:
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


app.include_router(router)


async def connect():
    global opened
    opened = app.servers.default.connection()
    await opened.__aenter__()


async def close():
    await opened.__aexit__(None, None, None)


async def put(kind, n, payload):
    await app.send_message_json(channel="default", payload={"n": n, "payload": payload}, headers={"topic": kind})


async def put_many(kind, numbers, payload):
    for i in range(0, len(numbers), 100):
        await asyncio.gather(*(put(kind, n, payload) for n in numbers[i : i + 100]))


def worker(p, c):
    return [["python", "-m", "bench_app", str(c)]] * p


async def main(c):
    async with app.servers.default.connection():
        await app.run_worker(tasks_limit=c, graceful_shutdown_time=5.0)


if __name__ == "__main__":
    import sys

    asyncio.run(main(int(sys.argv[1])))
