"""ZeroG on one SQLite file, on PostgreSQL or on Redis, jobs in worker threads."""

NAME = "zerog"
REQUIRES = ["-e", "../..[cli,postgres,redis,rq]"]
MODULE = "zerog"
VARIANTS = {
    "sqlite": "none",  # synchronous=full, the default
    "sqlite-normal": "none",
    "postgres": "postgres",
    "redis": "redis",
    "rq": "redis",  # documents on Redis, uuids on RQ's queues, under ZeroG's worker
}
BULK = "App.submit_many"
RESULTS = "the job's document: status, owner, times, result, history"
PROGRESS = "set_completeness; record_event"

import logging
import os
import sys
import time

from marshmallow import Schema, fields

import zerog

import bench_job

LEASE = 2.0 if bench_job.MODE == "faults" else 30.0
UNFINISHED = ("new", "queued", "scheduled", "running")


class Params(Schema):
    """The parameters of each of the jobs."""

    n = fields.Integer(required=True)
    payload = fields.String(required=True)


class Noop(zerog.BaseJob):
    JOB_TYPE = "noop"
    Params = Params

    def run(self):
        bench_job.record(self.n)


class Sleep(zerog.BaseJob):
    JOB_TYPE = "sleep"
    Params = Params

    def run(self):
        time.sleep(bench_job.JOB_SECONDS)
        bench_job.record(self.n)


class Progress(zerog.BaseJob):
    JOB_TYPE = "progress"
    Params = Params

    def run(self):
        for what, i in bench_job.updates():
            if what == "progress":
                self.set_completeness(i / 1000)
            else:
                self.record_event(bench_job.event(i)["msg"])


URLS = {
    "sqlite": lambda: f"sqlite:///{os.environ['BENCH_DIR']}/zerog.db",
    "sqlite-normal": lambda: f"sqlite:///{os.environ['BENCH_DIR']}/zerog.db?synchronous=normal",
    "postgres": lambda: os.environ["BENCH_POSTGRES"],
    "redis": lambda: os.environ["BENCH_REDIS"],
    "rq": lambda: f"rq+{os.environ['BENCH_REDIS']}",
}

JOBS = {job.JOB_TYPE: job for job in (Noop, Sleep, Progress)}


def connect():
    global app
    app = zerog.App(URLS[bench_job.VARIANT]())
    app.register(*JOBS.values())


def close():
    app.close()


def setup():
    connect()
    close()


def put(kind, n, payload):
    app.submit(JOBS[kind], {"n": n, "payload": payload})


def put_many(kind, numbers, payload):
    app.submit_many(JOBS[kind], [{"n": n, "payload": payload} for n in numbers])


def worker(p, c):
    return [["python", "-m", "bench_app", str(c)]] * p


def left():
    connect()
    return {status: sum(1 for _ in app.jobs(status=status)) for status in UNFINISHED}


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    connect()
    zerog.Worker(app, concurrency=int(sys.argv[1]), lease=LEASE).run()
