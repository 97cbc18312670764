"""Celery on Redis, with its result backend; prefork (processes) and threads."""

NAME = "celery"
REQUIRES = ["celery[redis]"]
MODULE = "celery"
VARIANTS = {"prefork": "redis", "threads": "redis"}
BULK = "group(...).apply_async()"
RESULTS = "result backend on Redis, task_track_started"
PROGRESS = "update_state(state, meta); events as a list in meta, for want of a log"

import os
import time

from celery import Celery, group

import bench_job

app = Celery("bench_app", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.task_track_started = True
app.conf.broker_connection_retry_on_startup = True
if bench_job.MODE == "faults":
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.broker_transport_options = {
        "visibility_timeout": 10,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }


@app.task(name="noop")
def noop(n, payload):
    bench_job.record(n)


@app.task(name="sleep")
def sleep(n, payload):
    time.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


@app.task(name="progress", bind=True)
def progress(self, n, payload):
    events = []
    for what, i in bench_job.updates():
        if what == "progress":
            self.update_state(state="PROGRESS", meta={"progress": i})
        else:
            events.append(bench_job.event(i))
            self.update_state(state="PROGRESS", meta={"progress": 1, "events": events})


TASKS = {"noop": noop, "sleep": sleep, "progress": progress}


def connect():
    app.connection_for_write().ensure_connection()


def put(kind, n, payload):
    TASKS[kind].delay(n, payload)


def put_many(kind, numbers, payload):
    group(TASKS[kind].s(n, payload) for n in numbers).apply_async()


def worker(p, c):
    pool = bench_job.VARIANT
    start = ["celery", "-A", "bench_app", "worker", "-P", pool, "-l", "WARNING", "-c"]
    if pool == "prefork":
        return [[*start, str(p)]] if c == 1 else None
    return [[*start, str(c), "-n", f"w{i}@%h"] for i in range(p)]


def left():
    import redis

    r = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    return {"queued": r.llen("celery"), "unacked": r.hlen("unacked")}
