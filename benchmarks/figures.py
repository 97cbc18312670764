#!/usr/bin/env python3
"""Measure what docs/performance.md shows, and write it there.

``embedded``: ZeroG and others on one file, with the costs of a long history and of the import. ``servers``: ZeroG and
others on Redis and PostgreSQL. Wants a quiet machine, ten minutes for the first and three quarters of an hour for the
second. Run it in an environment that has zerog; the peers get their own, and need redis-server and PostgreSQL.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
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
RESULTS = Path(__file__).resolve().parent / "results"

MAX_DRAIN = 8.0
"""Seconds for which a drain is watched, so that the slowest peers don't take most of the time."""


@dataclass(frozen=True)
class Chapter:
    """One part of the page's figures."""

    peers: tuple[str, ...]
    baseline: str
    workloads: tuple[str, ...]
    jobs: int
    is_awake: bool


CHAPTERS = {
    "embedded": Chapter(
        peers=("limit_sqlite:full", "limit_sqlite:batch-full", "limit_sqlite:normal", "huey:sqlite", "zerog:sqlite",
               "zerog:sqlite-normal"),
        baseline="huey:sqlite",
        workloads=("throughput", "latency"),
        jobs=2_000,
        is_awake=False,
    ),
    "servers": Chapter(
        peers=("limit_redis:plain", "limit_redis:batch", "rq:worker", "rq:simple", "celery", "huey:redis", "saq", "arq",
               "pgqueuer", "zerog:redis", "zerog:rq"),
        baseline="huey:redis",
        workloads=("throughput", "latency", "progress"),
        jobs=10_000,
        is_awake=True,
    ),
}  # fmt: skip


def measured(name: str, rounds: int) -> str:
    """The figures of one chapter, as Markdown."""
    chapter = CHAPTERS[name]
    RESULTS.mkdir(exist_ok=True)
    conditions = Conditions(
        baseline=chapter.baseline, rounds=rounds, awake=chapter.is_awake, out=RESULTS / f"{name}.json"
    )
    options = Options(jobs=chapter.jobs, max_drain=MAX_DRAIN)
    session = Session(find_peers(list(chapter.peers), [], VENVS), options, conditions)
    session.run(list(chapter.workloads))
    parts = [report([session.result]).replace("\n## ", "\n#### ")]
    if name == "embedded":
        await_quiet(conditions.noise, conditions.quiet_wait)
        tables = [("history", history.table()), ("import", footprint.table())]
        parts += [f"#### {title}\n\n" + "\n".join(lines) + "\n" for title, lines in tables]
    return "\n".join(parts)


def write(name: str, text: str) -> None:
    """Put the figures of a chapter into the page, in place of those that are there."""
    page = PAGE.read_text()
    begin, end = f"<!-- {name}: written by benchmarks/figures.py -->", f"<!-- end of {name} -->"
    block = f"{begin}\n\n{text}\n{end}"
    changed, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has no place for the figures of {name}")
    PAGE.write_text(changed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"of {', '.join(CHAPTERS)}; by default all")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if unknown := set(args.chapters) - set(CHAPTERS):
        parser.error(f"there is no chapter {', '.join(sorted(unknown))}; expected {', '.join(CHAPTERS)}")
    for chapter_name in args.chapters or CHAPTERS:
        write(chapter_name, measured(chapter_name, args.rounds))
