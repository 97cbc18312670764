"""Result files as one Markdown report: medians over the rounds, ratios to a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from harness.workloads import SHAPES, WORKLOADS

Result = dict[str, Any]
"""One run's result file: when, where, with which packages, and its rows."""

COUNTS = frozenset(
    [
        "duplicated",
        "extra",
        "had to be killed",
        "hits",
        "jobs run",
        "lost",
        "missing",
        "processes",
        "stuck",
        "worker exits",
    ]
)
"""Columns that are given round by round instead of as a median."""

_DRAINS = [f"{processes}x{concurrency}" for processes, concurrency in (*SHAPES, (2, 1))]
ORDER = [
    "enqueue/s",
    "bulk enqueue/s",
    *(f"drain/s {shape}" for shape in _DRAINS),
    "enqueue cpu us",
    "bulk enqueue cpu us",
    *(f"drain cpu us {shape}" for shape in _DRAINS),
]
"""Columns that have a place; all further ones follow as they appear."""


def report(results: list[Result], baseline: str | None = None) -> str:
    """The whole report. ``baseline`` defaults to what each result file names."""
    lines = _head(results)
    for workload in WORKLOADS:
        for is_awake in (True, False):
            lines += _section(results, workload, is_awake, baseline)
    return "\n".join(lines)


def _head(results: list[Result]) -> list[str]:
    first, last = results[0], results[-1]
    lines = [f"Measured {first['date'][:10]} on {last['cpu']}, Python {last['python']}, {last['system']}.", ""]
    servers = {kind: text for result in results for kind, text in result["servers"].items()}
    lines += [f"- {kind}: {text}" for kind, text in servers.items()]
    versions: dict[str, dict[str, str]] = {}
    for result in results:
        for peer, found in result["versions"].items():
            versions.setdefault(peer.partition(":")[0], found)
    for peer, found in versions.items():
        text = ", ".join(f"{package} {version}" for package, version in sorted(found.items()))
        lines.append(f"- {peer}: {text or 'standard library'}")
    note = "Medians over the rounds; in brackets the ratio to the baseline. Counts are given round by round."
    return [*lines, "", note, ""]


def _section(results: list[Result], workload: str, is_awake: bool, baseline: str | None) -> list[str]:
    """One workload's table. Rows with cores kept awake and without don't compare, so each has a table."""
    rows: dict[str, list[Result]] = {}
    for result in results:  # a later file replaces a peer's earlier rows
        if result.get("awake", False) != is_awake:
            continue
        fresh: dict[str, list[Result]] = {}
        for row in result["rows"]:
            if row["workload"] == workload:
                fresh.setdefault(row["peer"], []).append(row)
        rows |= fresh
        if fresh:
            baseline = baseline or result["baseline"]
    if not rows:
        return []
    cells = {peer: _columns(got) for peer, got in rows.items()}
    names = dict.fromkeys(name for columns in cells.values() for name in columns if name != "left")
    keys = sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    base = {} if workload.startswith("faults") else cells.get(baseline or "", {})
    title = f"## {workload}{', cores kept awake' if is_awake else ''}"
    title += f" (ratios to {baseline})" if base else ""
    lines = [title, "", f"| peer | {' | '.join(keys)} | rounds | other work |", "|---" * (len(keys) + 3) + "|"]
    for peer in sorted(rows, key=lambda name: (name.startswith("limit"), name)):
        shown = [_cell(name, cells[peer].get(name, []), base.get(name, [])) for name in keys]
        lines.append(f"| {peer} | {' | '.join(shown)} | {_note(rows[peer])} |")
    return [*lines, ""]


def _columns(rows: Iterable[Result]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in (row.get("values") or {}).items():
            columns.setdefault(name, []).append(value)
    return columns


def _cell(name: str, values: list[Any], base: list[Any]) -> str:
    if not values:
        return ""
    if name in COUNTS or any(isinstance(value, str) for value in values):
        return "/".join(map(str, values))
    middle = statistics.median(values)
    text = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
    return f"{text} ({middle / statistics.median(base):.2f}x)" if base else text


def _note(rows: list[Result]) -> str:
    errors = sum("error" in row for row in rows)
    noise = [row["foreign cpu"] for row in rows if row.get("foreign cpu") is not None]
    rounds = f"{len(rows)}" + (f" ({errors} failed)" if errors else "")
    return f"{rounds} | {f'{max(noise):.0%}' if noise else ''}"
