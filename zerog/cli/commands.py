"""What the command line can do.

Exit codes: 0 done; 1 it went wrong (a job that failed, a datastore out of reach); 2 it was asked for wrongly.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from marshmallow import ValidationError
from rich.console import Console

import zerog
from zerog import values
from zerog.cli.bars import Bars
from zerog.cli.doctor import doctor
from zerog.cli.loading import load_app
from zerog.document import SUCCEEDED, TERMINAL
from zerog.worker.supervisor import Supervisor, watch_supervisor
from zerog.worker.worker import EXECUTORS, GRACE, LEASE

F = TypeVar("F", bound=Callable[..., Any])

LOOK = 0.2
"""Seconds between two looks of ``--follow``."""


def _spoken(command: F) -> F:
    """Turn errors that a user can cause into one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ValidationError as error:
            lines = [f"  {name}: {json.dumps(what)}" for name, what in _by_field(error).items()]
            _fail("the parameters are wrong; nothing was stored\n" + "\n".join(lines), 2)
        except (zerog.ConfigurationError, zerog.UnknownJobType, zerog.InvalidUuid, zerog.InvalidValue) as error:
            _fail(str(error), 2)
        except zerog.ZerogError as error:
            _fail(str(error), 1)

    return run  # type: ignore[return-value]


def _by_field(error: ValidationError) -> dict[str, Any]:
    return dict(error.messages) if isinstance(error.messages, dict) else {"parameters": error.messages}


def _fail(message: str, code: int) -> None:
    click.echo(f"zerog: {message}", err=True)
    sys.exit(code)


@click.group()
@click.version_option(zerog.__version__, prog_name="zerog")
def cli() -> None:
    """Long background jobs as objects with documents."""


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--concurrency", type=int, default=1, show_default=True, help="Jobs at once.")
@click.option("--executor", type=click.Choice(EXECUTORS), default="thread", show_default=True)
@click.option(
    "--lease", type=float, default=LEASE, show_default=True, help="Seconds of silence before others take over."
)
@click.option("--grace", type=float, default=GRACE, show_default=True, help="Seconds for running jobs at shutdown.")
@click.option("--queues", default="", metavar="A,B", help="Queues to serve, in order of priority.")
@click.option("--burst", is_flag=True, help="Stop once nothing is ready.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--max-jobs", type=int, help="Runs after which a child, or a worker without children, is replaced.")
@click.option("--max-memory", type=int, metavar="MIB", help="Resident memory above which it is replaced.")
@click.option("--log-level", default="INFO", show_default=True, help="DEBUG, INFO, WARNING or ERROR.")
@_spoken
def worker(app: str, processes: int, log_level: str, burst: bool, **options: Any) -> None:
    """Run jobs until SIGTERM or SIGINT, under any supervisor.

    With more than one process this one only watches them and replaces what dies. Exit codes: 0 ended as asked,
    1 failed, 2 wrongly called or configured, 3 gave up because its workers died again and again.

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


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("job_type", metavar="TYPE")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--json", "source", metavar="FILE", help="Read the parameters from a JSON file, - for standard input.")
@click.option("--delay", type=float, default=0.0, help="Seconds until it may start.")
@click.option("--priority", type=int, default=0, help="Higher goes first.")
@click.option("--queue", default="default", show_default=True)
@_spoken
def submit(
    app: str, job_type: str, parameters: tuple[str, ...], source: str | None, delay: float, priority: int, queue: str
) -> None:
    """Submit a job and print its uuid; a JSON list of objects submits several.

    Example: zerog submit myapp:app word_count path=war-and-peace.txt
    """
    if source is not None and parameters:
        raise zerog.ConfigurationError("give the parameters either as KEY=VALUE or with --json, not both")
    given = _read_json(source) if source is not None else dict(map(_pair, parameters))
    many = given if isinstance(given, list) else [given]
    for uuid in load_app(app).submit_many(job_type, many, delay=delay, priority=priority, queue=queue):
        click.echo(uuid)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise zerog.ConfigurationError(f"{text!r} is no parameter; expected KEY=VALUE")
    return name, value


def _read_json(source: str) -> Any:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return values.decode(text)
    except OSError as error:
        raise zerog.ConfigurationError(f"{source} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise zerog.InvalidValue(f"{source} holds no JSON: {error}; nothing was stored") from None


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("uuid")
@click.option("--follow", is_flag=True, help="Draw a live bar until the job has ended.")
@_spoken
def progress(app: str, uuid: str, follow: bool) -> None:
    """Show how far a job is, as JSON or as a live bar; exits with 1 if the job failed or was cancelled.

    Example: zerog progress myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --follow
    """
    the_app = load_app(app)
    state = the_app.progress(uuid)
    if not follow:
        click.echo(json.dumps(state, indent=4))
    else:
        with Bars(Console()) as bars:
            bars.add(uuid, state["jobType"])
            bars.update(state)
            while state["status"] not in TERMINAL:
                time.sleep(LOOK)
                state = the_app.progress(uuid)
                bars.update(state)
    if state["status"] in TERMINAL and state["status"] != SUCCEEDED:
        sys.exit(1)


@cli.command()
@click.option("--path", type=click.Path(path_type=Path), help="Count the text files below this folder.")
@_spoken
def demo(path: Path | None) -> None:
    """Count words in several jobs, kill a worker in the middle, and check the totals. Needs no server.

    Without --path it counts the source files of the running Python's standard library.
    """
    from zerog.demo.show import Show

    if not Show(Console(), path).play():
        sys.exit(1)


cli.add_command(doctor)
