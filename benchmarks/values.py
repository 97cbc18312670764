#!/usr/bin/env python3
"""The cost of a value by its size: of its check, of a submit with it, and of reading it from the document.

Prints a Markdown table of milliseconds and mebibytes for bodies of 1 kB to 1 MB of several shapes: of the check, of
marshmallow's load alone, of a submit to a class without MAX_ITEMS, of one to a class with the default, which refuses
some of them, and of reading. Ends with 1 if a cost grows faster than the size, or if a submit of 100 kB to the class
with the default takes over 50 ms or 20 MiB. Run it in an environment that has zerog, on a machine without other work.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError, fields, validate

import zerog
from zerog.exceptions import InvalidValue
from zerog.jobs.declaration import declaration_of
from zerog.support import jsonvalues

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Bytes of the bodies, as JSON."""

ROUNDS = 3
"""Measurements of each, of which the fastest counts."""

LEAST = (1e-3, 2**20)
"""Seconds and bytes below which a cost counts as so much."""

BOUNDED = 100_000
"""The size of a body to which MOST_SECONDS and MOST_BYTES apply."""

MOST_SECONDS, MOST_BYTES = 0.05, 20 * 2**20
"""What the submit of such a body may cost."""

FASTER = 4.0
"""How much faster than its size a cost may grow from the largest but one to the largest."""


class Span(fields.TimeDelta):
    """A field class of the application that converts as its base does."""


class Take(zerog.BaseJob):
    """Takes a free-form parameter."""

    JOB_TYPE = "take"

    class Params(Schema):
        """A field of any JSON, and some that convert each piece."""

        data = fields.Raw()
        moments = fields.List(fields.DateTime())
        spans = fields.List(fields.TimeDelta())
        own_spans = fields.List(Span())
        amounts = fields.List(fields.Decimal(as_string=True, places=2))
        numbers = fields.List(fields.Integer())
        bounded = fields.List(fields.Integer(validate=validate.Range(0)))
        shares = fields.Dict(keys=fields.String(), values=fields.Float())
        tables = fields.List(fields.List(fields.Integer()))
        rows = fields.Nested({"number": fields.Integer()}, many=True)
        listed = fields.List(fields.Nested({"number": fields.Integer()}))
        filled = fields.Nested({f"field{number}": fields.Integer(load_default=0) for number in range(10)}, many=True)

    def run(self) -> int:
        """Do nothing."""
        return 200


class TakeAll(Take):
    """Takes as many items as there are."""

    JOB_TYPE = "take_all"
    MAX_ITEMS = None


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
    "spans of a schema": lambda size: [1] * (size // 2),
    "spans of an own field": lambda size: [1] * (size // 2),
    "amounts of a schema": lambda size: ["1.5"] * (size // 6),
    "numbers of a schema": lambda size: [1] * (size // 2),
    "wrong numbers of a schema": lambda size: ["a"] * (size // 4),
    "bounded numbers of a schema": lambda size: [1] * (size // 2),
    "entries of a schema": lambda size: {f"{number:06}": 0.5 for number in range(size // 13)},
    "lists of a schema": lambda size: [[] for _ in range(size // 3)],
    "objects of a schema": lambda size: [{"number": 1} for _ in range(size // 13)],
    "empty objects of a schema": lambda size: [{} for _ in range(size // 3)],
    "listed objects of a schema": lambda size: [{"number": 1} for _ in range(size // 13)],
    "objects of defaults": lambda size: [{} for _ in range(size // 3)],
}

TYPED = {
    "moments of a schema": "moments",
    "spans of a schema": "spans",
    "spans of an own field": "own_spans",
    "amounts of a schema": "amounts",
    "numbers of a schema": "numbers",
    "wrong numbers of a schema": "numbers",
    "bounded numbers of a schema": "bounded",
    "entries of a schema": "shares",
    "lists of a schema": "tables",
    "objects of a schema": "rows",
    "empty objects of a schema": "rows",
    "listed objects of a schema": "listed",
    "objects of defaults": "filled",
}
"""The shapes of which a schema converts each piece, and their fields."""


class Cost(NamedTuple):
    """What a call takes."""

    seconds: float
    """Processor time, the least of several rounds."""
    peak: int
    """Bytes allocated at its peak."""


def _check(body: Any) -> None:
    try:
        jsonvalues.check({"data": body}, "params")
    except InvalidValue:
        return


def _submit(app: zerog.App, job_class: type[Take], params: Any) -> None:
    with suppress(InvalidValue, ValidationError):
        app.submit(job_class, params)


def _load(params: Any) -> None:
    with suppress(ValidationError):
        Take.Params().load(params)


def _reader(app: zerog.App, params: Any, name: str) -> Callable[[], object]:
    """Return what reads the body from the document of a job; nothing to do if it was refused."""
    try:
        job = app.submit(TakeAll, params)
    except (InvalidValue, ValidationError):
        return lambda: None
    text = jsonvalues.encode_checked(app.datastore.read(job.key())[name])
    field = declaration_of(Take).fields[name]
    return lambda: field.load(jsonvalues.decode(text))


def _cost(function: Callable[[], object]) -> Cost:
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(min(seconds), peak)


def _costs(app: zerog.App, body: Any, name: str) -> dict[str, Cost]:
    params = {name: body}
    return {
        "check": _cost(lambda: _check(body)),
        "marshmallow": _cost(lambda: _load(params)),
        "submit": _cost(lambda: _submit(app, TakeAll, params)),
        "bounded": _cost(lambda: _submit(app, Take, params)),
        "read": _cost(_reader(app, params, name)),
    }


def _growth(small: dict[str, Cost], large: dict[str, Cost]) -> float:
    """How many times the costs are those of a smaller body; the largest of them."""
    pairs = [(large[name], small[name]) for name in small]
    least, bytes_least = LEAST
    seconds = (max(now.seconds, least) / max(was.seconds, least) for now, was in pairs)
    peaks = (max(now.peak, bytes_least) / max(was.peak, bytes_least) for now, was in pairs)
    return max(*seconds, *peaks)


def main() -> int:
    """Measure every shape at every size."""
    names = ["check", "marshmallow", "submit", "bounded", "read"]
    print(f"| shape | bytes | {' | '.join(f'{name} ms | {name} MiB' for name in names)} |\n|{' --- |' * 12}")
    folder = tempfile.TemporaryDirectory()
    app = zerog.App(f"sqlite:///{folder.name}/jobs.db")
    app.register(Take, TakeAll)
    beyond = []
    for shape, make in SHAPES.items():
        costs: dict[int, dict[str, Cost]] = {}
        lengths: dict[int, int] = {}
        for size in SIZES:
            body = make(size)
            lengths[size] = len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
            costs[size] = _costs(app, body, TYPED.get(shape, "data"))
            cells = (f"{cost.seconds * 1e3:.2f} | {cost.peak / 2**20:.2f}" for cost in costs[size].values())
            print(f"| {shape} | {lengths[size]:,} | {' | '.join(cells)} |", flush=True)
        grown, growth = lengths[SIZES[-1]] / lengths[SIZES[-2]], _growth(costs[SIZES[-2]], costs[SIZES[-1]])
        if growth > FASTER * grown:
            beyond.append(f"{shape}: {grown:.1f} times the size costs {growth:.1f} times as much")
        submit = costs[BOUNDED]["bounded"]
        if submit.seconds > MOST_SECONDS or submit.peak > MOST_BYTES:
            beyond.append(f"{shape}: a submit takes {submit.seconds * 1e3:.0f} ms and {submit.peak / 2**20:.0f} MiB")
    folder.cleanup()
    print("\n".join(beyond) or "All costs are within their bounds and grow with the size.")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
