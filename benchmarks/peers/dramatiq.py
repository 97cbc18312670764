"""Dramatiq on Redis, with its Results middleware."""

NAME = "dramatiq"
REQUIRES = ["dramatiq[redis]"]
MODULE = "dramatiq"
VARIANTS = {"redis": "redis"}
BULK = None  # group(...).run() sends one by one
RESULTS = "Results middleware with RedisBackend; no state before the end"
PROGRESS = None

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import bench_job

FAULTS = {"heartbeat_timeout": 10000, "maintenance_chance": 100000} if bench_job.MODE == "faults" else {}
broker = RedisBroker(url=os.environ["BENCH_REDIS"], **FAULTS)
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_REDIS"]), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop(n, payload):
    bench_job.record(n)
    return n


@dramatiq.actor(store_results=True)
def sleep(n, payload):
    time.sleep(bench_job.JOB_SECONDS)
    bench_job.record(n)
    return n


ACTORS = {"noop": noop, "sleep": sleep}


def connect():
    broker.client.ping()


def put(kind, n, payload):
    ACTORS[kind].send(n, payload)


def worker(p, c):
    return [["dramatiq", "bench_app", "-p", str(p), "-t", str(c), "--skip-logging"]]


def left():
    r = broker.client
    return {"queued": r.llen("dramatiq:default"), "acks": sum(r.scard(k) for k in r.scan_iter("dramatiq:__acks__.*"))}
