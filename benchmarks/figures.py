#!/usr/bin/env python3
"""Measure everything that docs/performance.md shows, and write it there.

Wants a quiet machine and about ten minutes. Run it in an environment that has zerog; the peers get their own.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import footprint
import history

from harness.adapters import find_peers
from harness.command import VENVS
from harness.machine import await_quiet
from harness.report import report
from harness.session import Conditions, Session
from harness.workloads import Options

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = Path(__file__).resolve().parent / "results" / "performance.json"

PEERS = ("limit_sqlite:full", "limit_sqlite:batch-full", "limit_sqlite:normal", "huey:sqlite", "zerog:*")
BASELINE = "huey:sqlite"
WORKLOADS = ["throughput", "latency"]

BEGIN, END = "<!-- figures: written by benchmarks/figures.py -->", "<!-- end of figures -->"


def measured(peers: list[str], rounds: int, jobs: int) -> str:
    """All figures, as Markdown."""
    RESULTS.parent.mkdir(exist_ok=True)
    conditions = Conditions(baseline=BASELINE, rounds=rounds, out=RESULTS)
    session = Session(find_peers(peers, [], VENVS), Options(jobs=jobs), conditions)
    session.run(WORKLOADS)
    await_quiet(conditions.noise, conditions.quiet_wait)
    tables = [("history", history.table()), ("import", footprint.table())]
    parts = [report([session.result]).replace("\n## ", "\n### ")]
    parts += [f"### {title}\n\n" + "\n".join(lines) + "\n" for title, lines in tables]
    return "\n".join(parts)


def write(text: str) -> None:
    """Put the figures into the page, in place of those that are there."""
    page = PAGE.read_text()
    block = f"{BEGIN}\n\n{text}\n{END}"
    changed, count = re.subn(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has no place for the figures")
    PAGE.write_text(changed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2000)
    args = parser.parse_args()
    write(measured(args.peers.split(","), args.rounds, args.jobs))
