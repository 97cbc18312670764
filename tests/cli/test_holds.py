"""``zerog types hold`` and ``release`` on each engine, as ``types``, ``workers`` and ``doctor`` show them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import zerog
from tests.backends.beanstalkd import servers as beanstalkd
from tests.backends.couchbase import servers as couchbase
from tests.backends.mongo import servers as mongo
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as redis
from tests.backends.rq import queues as rq
from tests.logs import logging_kept
from tests.marks import wide
from tests.processes import until
from zerog.cli.root import cli
from zerog.loading import load_app

CODE = """
import zerog
app = zerog.App()

@app.job("invoice")
def invoice(job): return 200

@app.job("letter")
def letter(job): return 200
"""

SQLITE = "sqlite:///jobs.db"

ENGINES: dict[str, Callable[[Path], tuple[str, str]]] = {
    "sqlite": lambda _: (SQLITE, SQLITE),
    "two files": lambda _: (SQLITE, "sqlite:///queue.db"),
    "redis": lambda folder: (redis.url_for(folder), redis.url_for(folder)),
    "postgres": lambda folder: (postgres.url_for(folder), postgres.url_for(folder)),
    "rq": lambda folder: (SQLITE, f"rq+{rq.url_for(folder)}"),
    "beanstalkd": lambda folder: (SQLITE, beanstalkd.url_for(folder)),
    "mongodb": lambda folder: (mongo.url_for(folder), "sqlite:///queue.db"),
    "couchbase": lambda folder: (couchbase.url_for(folder), "sqlite:///queue.db"),
}
"""URLs of datastore and queue."""


@pytest.fixture(params=["sqlite", *wide(*(name for name in ENGINES if name != "sqlite"))])
def app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[zerog.App]:
    """An app of the current folder, as the commands load it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("ZEROG_APP", raising=False)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    Path("shop.py").write_text(CODE)
    datastore, queue = ENGINES[request.param](tmp_path)
    monkeypatch.setenv("ZEROG_DATASTORE", datastore)
    monkeypatch.setenv("ZEROG_QUEUE", queue)
    with load_app("shop:app") as made:
        made.setup()
        yield made
    sys.modules.pop("shop", None)


def run(*words: str) -> str:
    with logging_kept():
        result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output  # 1: doctor has found something
    return result.output


def held(app: zerog.App) -> list[list[str]]:
    return [worker["heldTypes"] for worker in app.workers()]


def test_a_hold_is_seen_in_each_place_until_its_release(app: zerog.App) -> None:
    with zerog.Worker(app, lease=12):  # its record is written every 4 s
        until(lambda: held(app) == [[]], 30, "the worker is there")
        run("types", "hold", "shop:app", "invoice", "--reason", "build 42 fails")
        until(lambda: held(app) == [["invoice"]], 30, "the worker leaves the type")
        waiting, other = app.submit("invoice"), app.submit("letter")
        until(lambda: app.progress(other.uuid)["status"] == "succeeded", 30, "another type runs")
        [row] = [line for line in run("types", "shop:app").splitlines() if line.startswith("invoice")]
        assert "held " in row and "build 42 fails" in row
        listed = json.loads(run("types", "ls", "shop:app", "--json"))
        assert {each["jobType"]: each["held"] and each["held"]["reason"] for each in listed} == {
            "invoice": "build 42 fails",
            "letter": None,
        }
        assert "invoice is held; its jobs are left by 1 of 1 worker." in run("workers", "shop:app")
        worker = json.loads(run("workers", "ls", "shop:app", "--json"))
        assert worker["heldTypes"] == ["invoice"]
        found = json.loads(run("doctor", "shop:app", "--json"))["findings"]
        [finding] = [each for each in found if "invoice is held" in each["what"]]
        assert finding["what"].endswith("build 42 fails; 1 job waits")
        assert app.progress(waiting.uuid)["status"] == "queued"
        run(*finding["command"].split()[1:])
        until(lambda: app.progress(waiting.uuid)["status"] == "succeeded", 60, "the release is followed")
        until(lambda: held(app) == [[]], 30, "its record has no hold")
        assert "held" not in run("types", "shop:app") + run("workers", "shop:app") + run("doctor", "shop:app")
        assert [job["attempts"] for job in app.jobs(status="succeeded")] == [1, 1]


def test_a_type_that_the_app_lacks_is_held_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code may have it; a slip of the fingers is seen at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("ZEROG_URL", SQLITE)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    Path("shop.py").write_text(CODE)
    result = CliRunner().invoke(cli, ["types", "hold", "shop:app", "invioce"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "Jobs of type invioce wait until it is released.\n")
    assert result.stderr == "This app has no type invioce; it knows invoice, letter. Other workers may.\n"
    assert CliRunner().invoke(cli, ["types", "hold", "shop:app", "invoice"]).stderr == ""
    sys.modules.pop("shop", None)
