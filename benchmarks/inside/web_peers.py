"""Jobs and servers of the peers of ``zerog web``: RQ with rq-dashboard, Celery with Flower. Runs in their virtualenv.

``web_peers.py rq`` and ``web_peers.py celery`` submit a hundred jobs, let a worker run them, print the id of one, and
keep the worker. ``web_peers:dashboard`` and ``-A web_peers:app`` are the applications that their servers load.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery

URL = os.environ["BENCH_REDIS"]
JOBS = 100

app = Celery("web_peers", broker=URL, backend=URL)
app.conf.task_send_sent_event = True
app.conf.worker_send_task_events = True


@app.task(name="noop")
def noop(number: int) -> int:
    """Do nothing."""
    return number


def dashboard() -> Any:
    """Return rq-dashboard as its own command makes it."""
    os.environ["RQ_DASHBOARD_REDIS_URL"] = URL
    from rq_dashboard.cli import make_flask_app
    from rq_dashboard.web import setup_rq_connection

    flask = make_flask_app(None, None, None, "")
    flask.config["RQ_DASHBOARD_REDIS_URL"] = URL
    setup_rq_connection(flask)
    return flask


def of_rq() -> None:
    """Run a hundred jobs of RQ."""
    from redis import Redis
    from rq import Queue
    from rq.worker import SimpleWorker

    queue = Queue(connection=Redis.from_url(URL))
    jobs = [queue.enqueue(round, number, result_ttl=3_600) for number in range(JOBS)]
    SimpleWorker([queue], connection=queue.connection).work(burst=True)
    print("job", jobs[0].id, flush=True)
    SimpleWorker([queue], connection=queue.connection).work()


def of_celery() -> None:
    """Submit a hundred tasks of Celery, of which Flower learns by their events, and run them."""
    results = [noop.delay(number) for number in range(JOBS)]
    print("job", results[0].id, flush=True)
    app.worker_main(["worker", "--pool", "solo", "-E", "--loglevel", "ERROR"])


if __name__ == "__main__":
    {"rq": of_rq, "celery": of_celery}[sys.argv[1]]()
