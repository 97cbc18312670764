"""Draw what ``zerog top`` shows: as wide as the terminal, and no higher."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from zerog.cli.console import drawn_bar
from zerog.cli.output import STALLED, STYLES, percent, span
from zerog.contracts.find import Count
from zerog.records.commands import RUNNING as AT_WORK
from zerog.records.job import FAILED, RUNNING
from zerog.records.operations import Document
from zerog.support.texts import flat

STEPS, ASCII_STEPS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
"""Heights of a sparkline."""

BAR = 12
"""Columns of a bar."""

UNKNOWN = "-"

LEAST_RUNNING = 3
"""Lines that are kept for running jobs however many queues there are."""

Row = dict[str, str]

NUMBERS = ("DONE", "RATE", "LEFT", "RUNS", "FOR", "WAITED", "WAITING", "SCHEDULED", "WORKERS")
"""Columns with their texts to the right."""


def lines_of(shown: dict[str, Any], name: str, console: Console, height: int | None = None) -> list[Text]:
    """Return the lines of the screen; ``height``: how many there may be, None for all."""
    lines = [*_summary(shown, name, console), Text()]
    queues, waiting = _queues(shown, console.width), _waiting(shown, console.width)
    left = None if height is None else max(LEAST_RUNNING, height - len(lines) - len(queues) - len(waiting))
    lines += _running(shown, console, left)
    lines += [*waiting, *queues]
    return lines if height is None else lines[:height]


def _summary(shown: dict[str, Any], name: str, console: Console) -> list[Text]:
    time = shown["time"][11:19]
    title = set_cell_size(f"zerog top  {flat(name)}", max(20, min(console.width, 200) - len(time) - 2))
    states = Counter(str(worker["state"]) for worker in shown["workers"])
    workers = ", ".join(f"{count:,} {flat(state)}" for state, count in sorted(states.items(), key=_at_work_first))
    jobs = ", ".join(f"{Count(each['number'], each['isCapped'])} {status}" for status, each in shown["jobs"].items())
    return [
        Text.assemble((title, "bold"), f"  {time}"),
        Text.assemble(("Workers  ", "bold"), workers or ("none", "red")),
        Text.assemble(("Jobs     ", "bold"), jobs),
        _throughput(shown["rates"], console),
    ]


def _at_work_first(item: tuple[str, int]) -> tuple[bool, str]:
    return item[0] != AT_WORK, item[0]


def _throughput(rates: list[Document], console: Console) -> Text:
    """Return the sparkline of the runs in each minute, and what it says in numbers; the last minute isn't over."""
    totals = [_runs(each) for each in rates]
    *past, _ = totals
    steps = ASCII_STEPS if console.options.ascii_only else STEPS
    highest = max(*totals, 1)
    line = "".join(steps[-(-count * (len(steps) - 1) // highest)] for count in totals)
    failed = sum(_runs(each, FAILED) for each in rates)
    text = Text(f" {past[-1]:,} in the last minute, {sum(totals):,} in {len(totals)} minutes")
    if failed:
        text.append(", ").append(f"{failed:,} failed", STYLES[FAILED])
    label = Text("Runs     ", style="bold")
    room = max(1, console.width - len(label) - len(text))
    return Text.assemble(label, (line[-room:], STYLES[RUNNING]), text)


def _runs(rates: Document, outcome: str | None = None) -> int:
    every = [each["runs"] for each in rates["types"].values()]
    return sum(sum(runs.values()) if outcome is None else runs.get(outcome, 0) for runs in every)


def _running(shown: dict[str, Any], console: Console, most: int | None) -> list[Text]:
    jobs = shown["running"]
    room = len(jobs) if most is None else most - 2
    rows = [_running_row(job) for job in jobs[: max(1, room)]]
    if not rows:
        return [Text("No job runs.", style="dim"), Text()]
    widths = _widths(rows, console.width, ("UUID", "BAR", "WORKER", "RUNS"), {"TYPE": 8, "WORKER": 8})
    lines = [Text(_line(dict(zip(rows[0], rows[0], strict=True)), widths), style="bold")]
    for job, row in zip(jobs, rows, strict=False):
        line, style = Text(_line(row, widths)), STYLES[STALLED if job["stalled"] else RUNNING]
        if "BAR" in widths:
            start = sum(widths[name] + 1 for name in list(widths)[: list(widths).index("BAR")])
            bar = drawn_bar(console, job["completeness"], style, BAR)
            line = Text.assemble(line[:start], bar, line[start + BAR :])
        lines.append(line)
    total = shown["jobs"][RUNNING]
    if total["number"] > len(rows):
        more = Count(total["number"] - len(rows), total["isCapped"])
        lines.append(Text(f"and {more} more", style="dim"))
    return [*lines, Text()]


def _running_row(job: Document) -> Row:
    rate, left = job["rate"], job["secondsLeft"]
    return {
        "UUID": flat(job["uuid"]),
        "JOB": flat(job["uuid"])[-8:],
        "TYPE": flat(job["jobType"]),
        "BAR": " " * BAR,
        "DONE": percent(job["completeness"]),
        "RATE": UNKNOWN if rate is None else f"{rate * 6_000:,.{1 if rate * 6_000 < 100 else 0}f} %/m",
        "LEFT": UNKNOWN if left is None else span(left),
        "RUNS": flat(job["attempts"]),
        "WORKER": flat(job["worker"] or UNKNOWN),
    }


def _waiting(shown: dict[str, Any], width: int) -> list[Text]:
    rows = [
        {
            "UUID": flat(job["uuid"]),
            "JOB": flat(job["uuid"])[-8:],
            "OLDEST THAT WAIT": flat(job["jobType"]),
            "QUEUE": flat(job["queueName"]),
            "WAITED": UNKNOWN if job["secondsWaited"] is None else span(job["secondsWaited"]),
        }
        for job in shown["waiting"]
    ]
    return _table(rows, width, ("UUID",), {"OLDEST THAT WAIT": 16, "QUEUE": 8})


def _queues(shown: dict[str, Any], width: int) -> list[Text]:
    rows = [
        {
            "QUEUE": flat(queue["name"]),
            **{
                column: UNKNOWN if queue[field] is None else str(Count(queue[field], queue["capped"]))
                for column, field in (("WAITING", "waiting"), ("SCHEDULED", "scheduled"))
            },
            "WORKERS": f"{queue['workers']:,}",
            "": "paused" if queue["paused"] else "",
        }
        for queue in shown["queues"]
    ]
    return _table(rows, width, (), {"QUEUE": 8})


def _table(rows: list[Row], width: int, expendable: tuple[str, ...], least: dict[str, int]) -> list[Text]:
    if not rows:
        return []
    widths = _widths(rows, width, expendable, least)
    heading = Text(_line({name: name for name in widths}, widths), style="bold")
    return [heading, *(Text(_line(row, widths)) for row in rows), Text()]


def _widths(rows: list[Row], columns: int, expendable: tuple[str, ...], least: dict[str, int]) -> dict[str, int]:
    """Return the columns that there is room for, and their widths; JOB stands in for UUID."""
    widths = {name: max(cell_len(name), *(cell_len(row[name]) for row in rows)) for name in rows[0]}
    for dropped in (None, *expendable):
        if dropped is not None:
            widths.pop(dropped, None)
        shown = {name: width for name, width in widths.items() if not (name == "JOB" and "UUID" in widths)}
        excess = sum(shown.values()) + len(shown) - 1 - columns
        for name in sorted(least.keys() & shown.keys(), key=lambda each: -shown[each]):
            cut = max(0, min(excess, shown[name] - least[name]))
            shown[name] -= cut
            excess -= cut
        if excess <= 0:
            break
    return shown


def _line(texts: Row, widths: dict[str, int]) -> str:
    parts = []
    for name, width in widths.items():
        text = texts[name] if cell_len(texts[name]) <= width else f"{set_cell_size(texts[name], width - 1)}…"
        padding = " " * (width - cell_len(text))
        parts.append(padding + text if name in NUMBERS else text + padding)
    return " ".join(parts).rstrip()
