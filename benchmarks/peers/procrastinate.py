"""Procrastinate: jobs in PostgreSQL."""

NAME = "procrastinate"
REQUIRES = ["procrastinate", "psycopg[binary]"]
MODULE = "procrastinate"
VARIANTS = {"postgres": "postgres"}
BULK = "Task.batch_defer_async"
RESULTS = "job row with its status and an event row for every step; return values are not kept"
PROGRESS = None

import asyncio
import os

from procrastinate import App, PsycopgConnector, RetryStrategy

import bench_job

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))


@app.task(name="noop")
async def noop(n, payload):
    bench_job.record(n)


@app.task(name="sleep", retry=RetryStrategy(max_attempts=5))
async def sleep(n, payload):
    await asyncio.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


if bench_job.MODE == "faults":  # the documented way to rescue the jobs of a dead worker

    @app.periodic(cron="* * * * * */5")
    @app.task(queueing_lock="rescue", pass_context=True)
    async def rescue(context, timestamp):
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=20):
            await app.job_manager.retry_job(job)


TASKS = {"noop": noop, "sleep": sleep}


async def setup():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def connect():
    await app.open_async()


async def close():
    await app.close_async()


async def put(kind, n, payload):
    await TASKS[kind].defer_async(n=n, payload=payload)


async def put_many(kind, numbers, payload):
    await TASKS[kind].batch_defer_async(*({"n": n, "payload": payload} for n in numbers))


def worker(p, c):
    return [["procrastinate", "--app=bench_app.app", "--log-level", "warning", "worker", "-c", str(c)]] * p


async def left():
    async with app.open_async():
        jobs = await app.job_manager.list_jobs_async(task="sleep")
        return {s: sum(j.status == s for j in jobs) for s in ("todo", "doing")}
