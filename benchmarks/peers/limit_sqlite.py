"""The limit on SQLite, in WAL mode: the same five steps as limit_redis, each its own transaction.

"normal" and "full" are the synchronous setting; "batch" (normal) and "batch-full" take 64 jobs a transaction.
"""

NAME = "limit_sqlite"
VENV = "limit"
REQUIRES = ["redis"]
MODULE = "sqlite3"
VARIANTS = {"normal": "none", "full": "none", "batch": "none", "batch-full": "none"}
BULK = "one transaction for 500 jobs"
RESULTS = "row per job: document, status, result"
PROGRESS = "UPDATE of a progress column; INSERT of a log row"

import json
import os
import sqlite3
import time
import uuid

import bench_job

POLL = 0.001
db = None


def connect():
    global db
    db = sqlite3.connect(os.path.join(os.environ["BENCH_DIR"], "limit.db"), isolation_level=None, timeout=30)
    db.execute("pragma journal_mode=wal")
    db.execute(f"pragma synchronous={'full' if bench_job.VARIANT.endswith('full') else 'normal'}")


def setup():
    connect()
    db.execute("create table job(id blob primary key, doc text, status text, result text, progress int) without rowid")
    db.execute("create table queue(n integer primary key, id blob, taken int default 0)")
    db.execute("create table log(id blob, event text)")
    db.execute("create index waiting on queue(n) where taken = 0")


def write(kind, n, payload):
    key = uuid.uuid4().bytes
    db.execute(
        "insert into job values (?, ?, 'queued', null, 0)", (key, json.dumps({"kind": kind, "args": [n, payload]}))
    )
    db.execute("insert into queue(id) values (?)", (key,))


def put(kind, n, payload):
    if bench_job.VARIANT.startswith("batch"):
        db.execute("begin immediate")
    write(kind, n, payload)
    if db.in_transaction:
        db.execute("commit")


def put_many(kind, numbers, payload):
    db.execute("begin immediate")
    for n in numbers:
        write(kind, n, payload)
    db.execute("commit")


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
            db.execute("update job set progress = ? where id = ?", (i, key))
        else:
            db.execute("insert into log values (?, ?)", (key, json.dumps(bench_job.event(i))))


JOBS = {"noop": noop, "sleep": sleep, "progress": progress}


def run(key, doc):
    doc = json.loads(doc)
    return json.dumps(JOBS[doc["kind"]](key, *doc["args"]))


TAKE = "update queue set taken = 1 where n in (select n from queue where taken = 0 order by n limit ?) returning n, id"


def single():
    taken = db.execute(TAKE, (1,)).fetchall()
    for n, key in taken:
        (doc,) = db.execute("select doc from job where id = ?", (key,)).fetchone()
        db.execute("update job set status = 'running' where id = ?", (key,))
        result = run(key, doc)
        db.execute("update job set status = 'done', result = ? where id = ?", (result, key))
        db.execute("delete from queue where n = ?", (n,))
    return taken


def batch():
    db.execute("begin immediate")
    taken = db.execute(TAKE, (64,)).fetchall()
    docs = [db.execute("select doc from job where id = ?", (key,)).fetchone()[0] for _, key in taken]
    db.executemany("update job set status = 'running' where id = ?", [(key,) for _, key in taken])
    db.execute("commit")
    if taken:
        results = [run(key, doc) for (_, key), doc in zip(taken, docs, strict=True)]
        db.execute("begin immediate")
        db.executemany(
            "update job set status = 'done', result = ? where id = ?",
            [(result, key) for (_, key), result in zip(taken, results, strict=True)],
        )
        db.executemany("delete from queue where n = ?", [(n,) for n, _ in taken])
        db.execute("commit")
    return taken


def main():
    connect()
    step = batch if bench_job.VARIANT.startswith("batch") else single
    while True:
        if not step():
            time.sleep(POLL)


def worker(p, c):
    return [["python", "-m", "bench_app"]] * p if c == 1 else None


if __name__ == "__main__":
    main()
