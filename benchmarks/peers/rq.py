"""RQ: the default Worker forks a process for each job, SimpleWorker runs jobs itself."""

NAME = "rq"
REQUIRES = ["rq"]
MODULE = "rq"
VARIANTS = {"worker": "redis", "simple": "redis", "spawn": "redis"}
BULK = "Queue.enqueue_many"
RESULTS = "job hash and result stream, result_ttl 500 s"
PROGRESS = "job.meta and save_meta(); events as a list in meta, for want of a log"

import os
import time

import bench_job

CLASSES = {"worker": "rq.worker.Worker", "simple": "rq.worker.SimpleWorker", "spawn": "rq.worker.SpawnWorker"}


def noop(n, payload):
    bench_job.record(n)


def sleep(n, payload):
    time.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)


def progress(n, payload):
    from rq import get_current_job

    job = get_current_job()
    for what, i in bench_job.updates():
        if what == "progress":
            job.meta["progress"] = i
        else:
            job.meta.setdefault("events", []).append(bench_job.event(i))
        job.save_meta()


def connect():
    global queue, options, functions
    from redis import Redis
    from rq import Queue, Retry

    import bench_app  # the job functions by the name under which a worker finds them

    functions = {k: getattr(bench_app, k) for k in ("noop", "sleep", "progress")}
    queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    options = {"retry": Retry(max=5), "job_timeout": 10} if bench_job.MODE == "faults" else {}


def put(kind, n, payload):
    queue.enqueue(functions[kind], n, payload, **options)


def put_many(kind, numbers, payload):
    queue.enqueue_many([queue.prepare_data(functions[kind], (n, payload)) for n in numbers])


def worker(p, c):
    if c > 1:
        return None
    common = ["-u", os.environ["BENCH_REDIS"], "-w", CLASSES[bench_job.VARIANT], "-q"]
    if bench_job.MODE == "faults":  # the worker pool has no option for the maintenance interval
        return [
            [
                "rq",
                "worker",
                "--maintenance-interval",
                "5",
                "--worker-ttl",
                "20",
                "--job-monitoring-interval",
                "5",
                *common,
            ]
        ] * p  # an idle worker polls every ttl - 15 s
    return [["rq", "worker", *common]] if p == 1 else [["rq", "worker-pool", "-n", str(p), *common]]


def left():
    connect()
    r = queue.connection  # not registry.count: that cleans up first, and so would change what is counted
    return {
        "queued": r.llen(queue.key),
        "started": r.zcard(queue.started_job_registry.key),
        "intermediate": r.llen(queue.intermediate_queue_key),
    }
