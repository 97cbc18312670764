"""``zerog worker``: run jobs, in this process or in several that it watches."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import zerog
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED, fail
from zerog.cli.logging import FORMATS, WorkerLogging, keep_streams
from zerog.cli.output import plural
from zerog.worker.settings import EXECUTORS, GRACE, JOBS_PER_CHILD, LEASE, is_debug

if TYPE_CHECKING:
    from zerog.worker.session import WorkerStats


def _names(_ctx: click.Context, _parameter: click.Parameter, given: str) -> str:
    """Return an option with names of queues, joined by commas. Raises BadParameter for an empty name among them."""
    if given.strip() and not all(name.strip() for name in given.split(",")):
        raise click.BadParameter(f"{given!r} has an empty name; expected names of queues, joined by commas")
    return given


@app_command()
@click.option("--concurrency", type=int, default=1, show_default=True, help="Jobs at once.")
@click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    default="thread",
    show_default=True,
    help="Run jobs in threads, on one event loop, or in child processes.",
)
@click.option(
    "--lease", type=float, default=LEASE, show_default=True, help="Seconds of silence before others take over."
)
@click.option("--grace", type=float, default=GRACE, show_default=True, help="Seconds for running jobs at shutdown.")
@click.option("--queues", default="", metavar="A,B", callback=_names, help="Queues to serve, in order of priority.")
@click.option("--role", help="Serve the queues that zerog roles has for it, live.  [default: $ZEROG_ROLE]")
@click.option("--debug/--no-debug", default=None, help="For debuggers: one job at a time, no limits.  [$ZEROG_DEBUG]")
@click.option("--burst", is_flag=True, help="Stop once nothing is ready.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--max-jobs", type=int, help="Runs after which a worker process ends.")
@click.option("--max-memory", type=int, metavar="MIB", help="Resident memory above which it, or a child, ends.")
@click.option(
    "--max-jobs-per-child",
    type=int,
    default=JOBS_PER_CHILD,
    show_default=True,
    help="Runs after which a child process is replaced.",
)
@click.option("--name", help="What the worker's name begins with.  [default: the host's name]")
@click.option("--build-id", metavar="TEXT", help="Names the code that runs here.  [default: $ZEROG_BUILD]")
@click.option("--connect-retries", type=int, metavar="N", help="Tries to reach the datastore again at the start.")
@click.option("--log-level", help="DEBUG, INFO, WARNING or ERROR.  [default: the application's, or INFO]")
@click.option("--log-format", type=click.Choice(FORMATS), help="[default: the application's, or plain]")
@click.option(
    "--heartbeat",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Touch this file while all is well.",
)
def worker(
    app: str,
    processes: int,
    log_level: str | None,
    log_format: str | None,
    heartbeat: Path | None,
    burst: bool,
    **options: Any,
) -> None:
    """Run jobs until a signal, under any supervisor.

    The signals are SIGTERM, SIGINT and SIGHUP.

    With more than one process this one only watches them and replaces what dies. Exit codes: 0 ended as asked,
    1 failed, 2 wrongly called or configured, 3 gave up because its workers died again and again.

    \b
    Example: zerog worker myapp:app --processes 2 --concurrency 4 --executor process
    """
    from zerog.support.environment import keep_secrets
    from zerog.worker.executors.cleanup import end_daemons
    from zerog.worker.health import from_environment
    from zerog.worker.supervisor import Supervisor, buried_workers, link_to_supervisor, watch_supervisor

    keep_streams()
    logs = WorkerLogging(log_level, log_format)
    link, buried = link_to_supervisor(), buried_workers()
    reporter = from_environment(heartbeat, link)
    if processes > 1 and not is_debug(options["debug"]):
        logs.decide()
        command = _command(app, burst, log_level=log_level, log_format=log_format, **options)
        sys.exit(Supervisor(command, processes, options["grace"], burst, reporter=reporter).run())
    loaded = load_shared(app)
    logs.decide()
    the_worker = _make_worker(loaded, reporter=reporter, **options)
    the_worker.buried, the_worker.owns_process = buried, True
    keep_secrets()
    if link is not None:
        watch_supervisor(link, the_worker.name, the_worker.stop)
    try:
        stats = the_worker.run(burst=burst)
    except zerog.ZerogError as error:
        if not the_worker.has_worked:
            raise
        fail(f"the worker failed: {error}", FAILED)  # not MISUSED, whatever it is: it has worked
    finally:
        end_daemons()
    logging.getLogger("zerog").info("worker %s %s", the_worker.name, _summary(stats))


def _summary(stats: WorkerStats) -> str:
    names = ("succeeded", "failed", "cancelled", "requeued", "released", "lost")
    ends = [f"{count} {name}" for name in names if (count := getattr(stats, name))]
    return f"ended after {stats.seconds:.1f} s; {plural(stats.ran, 'run')}: {', '.join(ends) or 'no job ended'}"


def _command(app: str, burst: bool, debug: bool | None, **options: Any) -> list[str]:
    """Return the command of each of several processes."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    flags = [*["--burst"] * burst, *["--no-debug"] * (debug is False)]
    return [sys.executable, "-m", "zerog", "worker", app, *given, *flags]


def _make_worker(app: zerog.App, queues: str, max_memory: int | None, **options: Any) -> zerog.Worker:
    names = [name.strip() for name in queues.split(",") if name.strip()]
    memory = None if max_memory is None else max_memory * 1024 * 1024
    return zerog.Worker(app, queues=names, max_memory=memory, **options)
