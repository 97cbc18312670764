"""PgQueuer: jobs in PostgreSQL, asyncpg."""

NAME = "pgqueuer"
REQUIRES = ["pgqueuer[asyncpg,cli]"]
MODULE = "pgqueuer"
VARIANTS = {"postgres": "postgres"}
BULK = "Queries.enqueue of lists"
RESULTS = "status row while queued and picked, log row when done; return values are not kept"
PROGRESS = None

import asyncio
import json
import os
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

import bench_job


@asynccontextmanager
async def main():
    pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(os.environ["BENCH_POSTGRES"])))

    @pgq.entrypoint("noop")
    async def noop(job: Job) -> None:
        bench_job.record(json.loads(job.payload)["n"])

    @pgq.entrypoint("sleep")
    async def sleep(job: Job) -> None:
        await asyncio.sleep(bench_job.JOB_SECONDS)
        bench_job.record(json.loads(job.payload)["n"])

    yield pgq


async def setup():
    await connect()
    await queries.install()
    await close()


async def connect():
    global queries, connection
    connection = await asyncpg.connect(os.environ["BENCH_POSTGRES"])
    queries = Queries(AsyncpgDriver(connection))


async def close():
    await connection.close()


async def put(kind, n, payload):
    await queries.enqueue(kind, json.dumps({"n": n, "payload": payload}).encode())


async def put_many(kind, numbers, payload):
    await queries.enqueue(
        [kind] * len(numbers), [json.dumps({"n": n, "payload": payload}).encode() for n in numbers], [0] * len(numbers)
    )


def worker(p, c):  # pgq run fails in this release ('str' object has no attribute 'name'): call what it calls
    return [["python", "-m", "bench_app", str(c)]] * p


async def left():
    await connect()
    rows = await connection.fetch("select status::text, count(*) from pgqueuer group by 1")
    await close()
    return {r[0]: r[1] for r in rows}


if __name__ == "__main__":
    import sys
    from datetime import timedelta

    from pgqueuer.adapters.cli import supervisor
    from pgqueuer.domain.types import QueueExecutionMode

    c = int(sys.argv[1])
    asyncio.run(
        supervisor.run(
            main,
            dequeue_timeout=timedelta(seconds=30),
            batch_size=max(1, c // 2),  # at most half of the tasks
            heartbeat_timeout=timedelta(seconds=10 if bench_job.MODE == "faults" else 30),
            restart_delay=timedelta(seconds=5),
            restart_on_failure=False,
            mode=QueueExecutionMode.continuous,
            max_concurrent_tasks=max(c, 2),
        )
    )
