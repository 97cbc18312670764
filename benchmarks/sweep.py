#!/usr/bin/env python3
"""The cost of a sweep beside 1,000 and 1,000,000 finished jobs on SQLite: time, and heads read.

Prints a Markdown table. Run it in an environment that has zerog.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import new_document
from zerog.support.clock import to_text

FINISHED = (1_000, 1_000_000)
UNFINISHED = 100
SWEEPS = 15

_COPY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO zerog_documents ({columns})
SELECT {values} FROM zerog_documents, n WHERE key = ?
"""


def fill(engine: SqliteEngine, count: int) -> None:
    """Finish one job and copy its row."""
    engine.submit([new_document("test", 1.0, to_text(engine.clock.now()))])
    [claim] = engine.claim(1, WorkerIdentity("filler", 30.0), lambda head: head["jobType"])
    engine.settle([Settlement(claim, "finish", 1, 200)])
    with engine.datastore.file.writing() as sqlite:
        names = [row[1] for row in sqlite.execute("PRAGMA table_info(zerog_documents)") if row[1] != "id"]
        values = ["printf('zerog_job_%036d', i)" if name == "key" else name for name in names]
        sqlite.execute(_COPY.format(count=count, columns=", ".join(names), values=", ".join(values)), (claim.key,))


def measure(folder: Path, count: int) -> tuple[float, int]:
    """Median milliseconds of a sweep, and the heads it reads."""
    datastore = SqliteDatastore(folder / "jobs.db", "normal")
    engine = SqliteEngine(datastore, SqliteQueue(folder / "jobs.db", file=datastore.file))
    fill(engine, count)
    engine.submit([new_document("test", 1.0, to_text(engine.clock.now())) for _ in range(UNFINISHED)])
    reconciler = Reconciler(engine, "bench")
    times = []
    for _ in range(SWEEPS):
        start = time.perf_counter()
        report = reconciler.sweep()
        times.append(time.perf_counter() - start)
    engine.close()
    return statistics.median(times) * 1_000, report.heads


def main() -> None:
    """Measure and print."""
    print("| finished jobs | sweep, median ms | heads read |\n| --- | --- | --- |")
    for count in FINISHED:
        with tempfile.TemporaryDirectory() as folder:
            milliseconds, heads = measure(Path(folder), count)
            print(f"| {count:,} | {milliseconds:.2f} | {heads} |")


if __name__ == "__main__":
    main()
