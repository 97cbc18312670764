#!/usr/bin/env python3
"""The cost of ``import zerog`` over a bare Python and over marshmallow, in time and in memory.

Prints a Markdown table. Whole processes are timed, in turns, so that the machine's load affects all alike. Run it in
an environment that has zerog.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CASES = {
    "bare Python": "pass",
    "import marshmallow": "import marshmallow",
    "import zerog": "import zerog",
    "import zerog, an App on SQLite": (
        "import tempfile, zerog\nwith tempfile.TemporaryDirectory() as folder: zerog.App(f'sqlite:///{folder}/jobs.db')"
    ),
}

PEAK = "\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
"""Prints the peak of this program alone; rusage would count what its parent had before."""

ROUNDS = 21


def run(code: str) -> tuple[float, float]:
    """Milliseconds that a Python process takes for ``code``, and the most memory it had, in MiB."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code + PEAK], capture_output=True, text=True, check=True)
    return (time.perf_counter() - start) * 1e3, int(done.stdout.split()[1]) / 1024


def table(rounds: int = ROUNDS) -> list[str]:
    """The lines of a Markdown table: medians over interleaved rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for code in CASES.values():
        run(code)  # compiled, and in the page cache
    for _ in range(rounds):
        for name, code in CASES.items():
            found[name].append(run(code))
    lines = ["| process | ms | over the line above | MiB at most |", "|---|---|---|---|"]
    before = 0.0
    for name, runs in found.items():
        took, size = (statistics.median(values) for values in zip(*runs, strict=True))
        lines.append(f"| {name} | {took:.1f} | {took - before:+.1f} | {size:.1f} |")
        before = took
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
