"""The limit on Redis: the fewest commands that a stored document and a queue of ids need.

Enqueue: write the document, push the id. Run: move the id to a running list, read the document, write
"running", call the job, write the result, take the id off the running list. "plain" waits for each command;
"pipeline" sends commands that need no answer together; "batch" also takes 64 jobs at once.
"""

NAME = "limit_redis"
VENV = "limit"
REQUIRES = ["redis"]
MODULE = "redis"
VARIANTS = {"plain": "redis", "pipeline": "redis", "batch": "redis"}
BULK = "one pipeline for 500 jobs"
RESULTS = "hash per job: document, status, result"
PROGRESS = "HSET of a progress field; RPUSH to a list per job"

import json
import os
import time
import uuid

import redis

import bench_job

r = redis.Redis.from_url(os.environ["BENCH_REDIS"])
QUEUE, RUNNING = "limit:queue", "limit:running"


def noop(key, n, payload):
    bench_job.record(n)
    return n


def sleep(key, n, payload):
    time.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)
    return n


def progress(key, n, payload):
    for what, i in bench_job.updates():
        if what == "progress":
            r.hset(key, "progress", i)
        else:
            r.rpush(key + b":log", json.dumps(bench_job.event(i)))


JOBS = {"noop": noop, "sleep": sleep, "progress": progress}


def connect():
    r.ping()


def write(to, kind, n, payload):
    key = uuid.uuid4().hex
    to.hset(key, mapping={"doc": json.dumps({"kind": kind, "args": [n, payload]}), "status": "queued"})
    to.lpush(QUEUE, key)


def put(kind, n, payload):
    if bench_job.VARIANT == "plain":
        write(r, kind, n, payload)
    else:
        put_many(kind, [n], payload)


def put_many(kind, numbers, payload):
    with r.pipeline(transaction=False) as pipe:
        for n in numbers:
            write(pipe, kind, n, payload)
        pipe.execute()


def run(key, doc):
    doc = json.loads(doc)
    return JOBS[doc["kind"]](key, *doc["args"])


def main():
    while True:
        key = r.blmove(QUEUE, RUNNING, 1, "RIGHT", "LEFT")
        if key is None:
            continue
        if bench_job.VARIANT == "plain":
            doc = r.hget(key, "doc")
            r.hset(key, "status", "running")
            result = run(key, doc)
            r.hset(key, mapping={"status": "done", "result": json.dumps(result)})
            r.lrem(RUNNING, 1, key)
            continue
        keys, pipe = [key], r.pipeline(transaction=False)
        if bench_job.VARIANT == "batch":
            for _ in range(63):
                pipe.lmove(QUEUE, RUNNING, "RIGHT", "LEFT")
            keys += [k for k in pipe.execute() if k]
        for k in keys:
            pipe.hget(k, "doc").hset(k, "status", "running")
        docs = pipe.execute()[::2]
        for k, doc in zip(keys, docs, strict=True):
            pipe.hset(k, mapping={"status": "done", "result": json.dumps(run(k, doc))}).lrem(RUNNING, 1, k)
        pipe.execute()


def worker(p, c):
    return [["python", "-m", "bench_app"]] * p if c == 1 else None


if __name__ == "__main__":
    main()
