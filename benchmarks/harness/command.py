"""The command line: ``run`` measures, ``report`` makes one table of result files."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any, TypeVar

from harness.adapters import find_peers
from harness.report import report
from harness.session import Conditions, Session
from harness.workloads import WORKLOADS, Options, named

VENVS = Path(__file__).resolve().parents[1] / ".venvs"

DESCRIPTION = """Job queues, measured side by side.

    bench.py run --peers rq,saq --workload throughput
    bench.py report results/*.json

README.md describes the workloads and how to write an adapter.
"""

T = TypeVar("T")


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run it."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    _add_run(commands)
    _add_report(commands)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and workers are ended, too
    args.do(args)


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="measure")
    add, options, conditions = run.add_argument, Options(), Conditions()
    add("--peers", default="rq", help="comma-separated: name (its first variant), name:variant or name:*")
    add("--extra", action="append", default=[], metavar="FILE", help="a further adapter; may be repeated")
    add("--workload", default="throughput", help=f"comma-separated: {', '.join(WORKLOADS)}, faults")
    add("--baseline", default=conditions.baseline, help="the peer that ratios are taken to")
    add("--jobs", type=int, default=options.jobs, help="jobs of the throughput workload")
    add("--rounds", type=int, default=conditions.rounds)
    add("--max-drain", type=float, default=options.max_drain, help="seconds one drain may be watched")
    add("--interval", type=float, default=options.interval, help="seconds between jobs of the latency workload")
    add("--fault-jobs", type=int, default=options.fault_jobs)
    add("--patience", type=float, default=options.patience, help="seconds to wait for missing jobs")
    add("--parallel", type=int, default=conditions.parallel, help="fault runs at the same time")
    add("--seed", default=options.seed, help="decides the moments of the faults")
    add("--venvs", type=Path, default=VENVS, help="folder of the peers' virtualenvs")
    add("--noise", type=float, default=conditions.noise, help="share of the CPU that other work may take")
    add("--quiet-wait", type=float, default=conditions.quiet_wait, help="seconds to wait for other work to end")
    add("--tries", type=int, default=conditions.tries, help="measurements until one with little other work is kept")
    add("--awake", action="store_true", help="keep the cores from idling (advised on virtual machines)")
    add("--lock", help="a file to hold locked while measuring, to keep other runs away")
    add("--out", type=Path, help="write the results as JSON here, after every measurement")
    run.set_defaults(do=_run)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser("report", help="one Markdown report from result files")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--baseline", help="the peer that ratios are taken to; otherwise what each file names")
    parser.set_defaults(do=_report)


def _run(args: argparse.Namespace) -> None:
    names = [name for name in args.peers.split(",") if name]
    workloads = named(args.workload)
    peers = find_peers(names, args.extra, args.venvs)
    session = Session(peers, _picked(Options, args), _picked(Conditions, args))
    session.run(workloads)
    print(report([session.result], args.baseline))


def _report(args: argparse.Namespace) -> None:
    print(report([json.loads(path.read_text()) for path in args.files], args.baseline))


def _picked(kind: type[T], args: argparse.Namespace) -> T:
    """The arguments that are fields of a dataclass."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: getattr(args, field.name) for field in fields})
