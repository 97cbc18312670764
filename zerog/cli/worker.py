"""``zerog worker``: run jobs, in this process or in several that it watches."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

import zerog
from zerog.cli.loading import load_app
from zerog.cli.target import app_command
from zerog.worker.supervisor import Supervisor, watch_supervisor
from zerog.worker.worker import EXECUTORS, GRACE, LEASE


@app_command()
@click.option("--concurrency", type=int, default=1, show_default=True, help="Jobs at once.")
@click.option("--executor", type=click.Choice(EXECUTORS), default="thread", show_default=True)
@click.option(
    "--lease", type=float, default=LEASE, show_default=True, help="Seconds of silence before others take over."
)
@click.option("--grace", type=float, default=GRACE, show_default=True, help="Seconds for running jobs at shutdown.")
@click.option("--queues", default="", metavar="A,B", help="Queues to serve, in order of priority.")
@click.option("--burst", is_flag=True, help="Stop once nothing is ready.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--max-jobs", type=int, help="Runs after which a child, or a worker of threads, is replaced.")
@click.option("--max-memory", type=int, metavar="MIB", help="Resident memory above which it is replaced.")
@click.option("--log-level", default="INFO", show_default=True, help="DEBUG, INFO, WARNING or ERROR.")
def worker(app: str, processes: int, log_level: str, burst: bool, **options: Any) -> None:
    """Run jobs until SIGTERM or SIGINT, under any supervisor.

    With more than one process this one only watches them and replaces what dies. Exit codes: 0 ended as asked,
    1 failed, 2 wrongly called or configured, 3 gave up because its workers died again and again.

    \b
    Example: zerog worker myapp:app --processes 2 --concurrency 4 --executor process
    """
    level = logging.getLevelName(log_level.upper())
    if not isinstance(level, int):
        raise zerog.ConfigurationError(f"--log-level {log_level!r}; expected DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if processes > 1:
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
        command = [sys.executable, "-m", "zerog", "worker", app, *given, f"--log-level={log_level}"]
        supervisor = Supervisor(command + ["--burst"] * burst, processes, options["grace"], burst)
        sys.exit(supervisor.run())
    the_worker = _make_worker(app, **options)
    watch_supervisor(the_worker.stop)
    stats = the_worker.run(burst=burst)
    logging.getLogger("zerog").info("%s", stats)


def _make_worker(app: str, queues: str, max_memory: int | None, **options: Any) -> zerog.Worker:
    names = [name.strip() for name in queues.split(",") if name.strip()]
    memory = None if max_memory is None else max_memory * 1024 * 1024
    return zerog.Worker(load_app(app), queues=names, max_memory=memory, **options)
