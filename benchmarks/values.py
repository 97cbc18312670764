#!/usr/bin/env python3
"""The cost of a value by its size: ``values.check``, and validating and loading it as a job's parameter.

Prints a Markdown table of milliseconds and mebibytes for bodies of 1 kB to 1 MB of several shapes, and ends with 1 if
a cost grows faster than the size. Run it in an environment that has zerog.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.exceptions import InvalidValue
from zerog.jobs.declaration import declaration_of
from zerog.support import jsonvalues

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Bytes of the bodies, as JSON."""

ROUNDS = 5
"""Measurements of each, of which the fastest counts."""

LEAST = (1e-3, 2**20, 1e-3, 2**20)
"""Seconds and bytes below which a cost counts as so much."""

FASTER = 4.0
"""How much faster than its size a cost may grow from the largest but one to the largest."""


class Take(zerog.BaseJob):
    """Takes a free-form parameter."""

    JOB_TYPE = "take"

    class Params(Schema):
        """A field of any JSON, and some that convert each piece."""

        data = fields.Raw()
        moments = fields.List(fields.DateTime())
        rows = fields.Nested({"number": fields.Integer()}, many=True)

    def run(self) -> int:
        """Do nothing."""
        return 200


def _nested(size: int) -> Any:
    row: Any = []
    for _ in range(50):
        row = [row]
    return [row] * max(1, size // 105)


def _key(size: int) -> int:
    return min(size // 2, jsonvalues.MAX_KEY)


def _refused(size: int) -> Any:
    return {"k" * _key(size): [*[0] * ((size - _key(size)) // 2), float("nan")]}


SHAPES: dict[str, Callable[[int], Any]] = {
    "small numbers": lambda size: [0] * (size // 2),
    "empty lists": lambda size: [[] for _ in range(size // 3)],
    "one text": lambda size: "x" * size,
    "one text beyond ASCII": lambda size: "ü" * (size // 2),
    "one long key above many values": lambda size: {"k" * _key(size): [0] * ((size - _key(size)) // 2)},
    "many keys": lambda size: {f"{number:06}": 0 for number in range(size // 11)},
    "50 levels, many times": _nested,
    "refused at its end": _refused,
    "moments of a schema": lambda size: ["2027-01-01T00:00:00+00:00"] * (size // 28),
    "objects of a schema": lambda size: [{"number": 1} for _ in range(size // 13)],
}

TYPED = {"moments of a schema": "moments", "objects of a schema": "rows"}
"""The shapes of which a schema converts each piece, and their fields."""


def _check(body: Any) -> None:
    try:
        jsonvalues.check({"data": body}, "params")
    except InvalidValue:
        return


def _load(body: Any, name: str) -> None:
    declaration = declaration_of(Take)
    stored = declaration.fields[name]
    try:
        loaded = declaration.validated({name: body})[name]
        stored.load(jsonvalues.decode(jsonvalues.encode_checked(stored.dump(loaded))))
    except InvalidValue:
        return


def _cost(function: Callable[[Any], None], body: Any) -> tuple[float, float]:
    """Seconds of processor time, the least of several rounds, and the peak of bytes allocated."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function(body)
        seconds.append(time.process_time() - began)
    tracemalloc.start()
    function(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(seconds), peak


def main() -> int:
    """Measure every shape at every size."""
    print("| shape | bytes | check ms | check MiB | load ms | load MiB |\n| --- | --- | --- | --- | --- | --- |")
    beyond = []
    for shape, make in SHAPES.items():
        costs: list[tuple[int, tuple[float, float, float, float]]] = []
        for size in SIZES:
            body = make(size)
            length = len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
            cost = (*_cost(_check, body), *_cost(partial(_load, name=TYPED.get(shape, "data")), body))
            costs.append((length, cost))
            cells = (cost[0] * 1e3, cost[1] / 2**20, cost[2] * 1e3, cost[3] / 2**20)
            print(f"| {shape} | {length:,} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)
        (small, before), (large, after) = costs[-2:]
        growth = max(now / max(was, least) for was, now, least in zip(before, after, LEAST, strict=True))
        if growth > FASTER * large / small:
            beyond.append(f"{shape}: {large / small:.1f} times the size costs {growth:.1f} times as much")
    print("\n".join(beyond) or "All costs grow with the size.")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
