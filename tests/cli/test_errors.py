"""``zerog jobs errors``: failed jobs, grouped by the fingerprint of their last error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import zerog as package
from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from zerog.maintenance import failures
from zerog.records.job import make_key
from zerog.records.operations import Set

CODE = """
import zerog

app = zerog.App("sqlite:///orders.db")

class Once(zerog.BaseJob):
    MAX_ERRORS = 1

@app.job("order", base=Once)
def order(job, number: int):
    if number % 3 == 0:
        raise ConnectionError(f"no route for {number}")
    if number % 3 == 1:
        job.raise_error_finish(404, f"no such item: {number}")
"""


@pytest.fixture
def orders(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app with 7 failed jobs of two kinds."""
    Path("orders.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "orders", raising=False)
    import orders

    app: Any = orders.app
    monkeypatch.setenv("ZEROG_BUILD", "b1")
    app.submit_many("order", [{"number": number} for number in (0, 1, 2, 3, 4, 6, 9, 12)])
    package.Worker(app).run(burst=True)
    yield app
    app.close()
    sys.modules.pop("orders", None)


def groups(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_failures_are_grouped(orders: Any, zerog: Zerog) -> None:
    """The most frequent first, with times, builds, an example and the line of the code."""
    result = zerog("jobs", "errors", "orders:app", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    one, other = groups(result.stdout)
    assert (one["count"], one["error"], one["job_type"], one["builds"]) == (5, "ConnectionError", "order", {"b1": 5})
    assert one["where"] == 'orders.order: raise ConnectionError(f"no route for {number}")'
    newest = orders.progress(one["example"])
    assert newest["lastError"]["msg"] == one["msg"] == "ConnectionError: no route for 12"
    assert one["first"] <= one["last"] == newest["lastError"]["timestamp"]
    assert (other["count"], other["error"]) == (2, None)
    assert other["where"].startswith("orders.order: job.raise_error_finish(404")


def test_the_command_that_it_shows_selects_the_group(orders: Any, zerog: Zerog) -> None:
    """As a person reads it: figures, place, example, and the filter of the other commands."""
    shown = zerog("jobs", "errors", "orders:app").stdout
    assert "5 jobs of order: ConnectionError" in shown
    fingerprint = groups(zerog("jobs", "errors", "orders:app", "--json").stdout)[0]["fingerprint"]
    assert f"--error {fingerprint}" in shown
    assert zerog("jobs", "retry", "orders:app", "--error", fingerprint, "--yes").stdout == "5 jobs queued again.\n"
    assert [group["count"] for group in groups(zerog("jobs", "errors", "orders:app", "--json").stdout)] == [2]


def test_filters(orders: Any, zerog: Zerog) -> None:
    for filters in (["--build", "b2"], ["--type", "other"], ["--since", "2090-01-01"], ["--status", "queued"]):
        assert zerog("jobs", "errors", "orders:app", *filters).stdout == "No failures.\n"
    assert len(groups(zerog("jobs", "errors", "orders:app", "--build", "b1", "--since", "1h", "--json").stdout)) == 2
    [only] = groups(zerog("jobs", "errors", "orders:app", "--error", "ConnectionError", "--json").stdout)
    assert only["count"] == 5


def test_a_range_of_builds(orders: Any, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are grouped whose last error is of a build within it, both ends included; their figures are those alone."""
    for build in ("b9", "b10", "b11"):
        monkeypatch.setenv("ZEROG_BUILD", build)
        orders.submit_many("order", [{"number": 0}, {"number": 1}])
        package.Worker(orders).run(burst=True)

    def counted(wanted: str) -> list[tuple[int, dict[str, int]]]:
        found = groups(zerog("jobs", "errors", "orders:app", "--build", wanted, "--json").stdout)
        return [(group["count"], group["builds"]) for group in found]

    assert counted("b9..b10") == [(2, {"b10": 1, "b9": 1})] * 2
    assert counted("b10..") == [(2, {"b11": 1, "b10": 1})] * 2
    assert counted("..b1") == [(5, {"b1": 5}), (2, {"b1": 2})]
    assert counted("b12..b20") == []
    shown = zerog("jobs", "errors", "orders:app", "--build", "b10..b11").stdout
    assert "builds  b11 (1), b10 (1)" in shown
    refused = zerog("jobs", "errors", "orders:app", "--build", "b11..b9")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "'b11..b9' is a range without builds" in refused.stderr


def test_what_is_left_out_is_noted(orders: Any, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """More groups than the limit, and more jobs than are grouped."""
    result = zerog("jobs", "errors", "orders:app", "--limit", "1", "--json")
    assert len(groups(result.stdout)) == 1
    assert "more groups than these 1" in result.stderr
    monkeypatch.setattr(failures, "LOOKED_AT", 3)
    result = zerog("jobs", "errors", "orders:app", "--json")
    assert sum(group["count"] for group in groups(result.stdout)) == 3
    assert "Only the newest 3 jobs" in result.stderr


def test_errors_of_earlier_versions_are_grouped_by_type(orders: Any, zerog: Zerog) -> None:
    """They have no fingerprint; damaged ones don't keep others from being shown."""
    for number, job in enumerate([*orders.jobs(error="ConnectionError")]):
        last: Any = {"type": "ConnectionError", "msg": "no"} if number < 3 else "damaged"
        orders.datastore.mutate(make_key(job["uuid"]), [Set("lastError", last)])
    one, other = groups(zerog("jobs", "errors", "orders:app", "--json").stdout)
    assert (one["count"], one["fingerprint"], one["where"], one["first"]) == (3, None, None, None)
    assert other["count"] == 2
    assert "3 jobs of order: ConnectionError, at an unknown time" in zerog("jobs", "errors", "orders:app").stdout
