"""``benchmarks/finding.py`` measures stores that are filled with the very documents that the engine writes."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as redis
from zerog.maintenance.doctor import Doctor
from zerog.records.job import check_head, make_key

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The two programs, ``finding`` and ``filling``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import filling
    import finding

    log = logging.getLogger("zerog")
    level = log.level
    yield finding, filling
    log.setLevel(level)  # the program has a process of its own
    for name in [
        name for name, each in sys.modules.items() if str(getattr(each, "__file__", "")).startswith(BENCHMARKS)
    ]:
        del sys.modules[name]


URLS = {
    "memory": lambda folder: "memory://",
    "sqlite": lambda folder: f"sqlite:///{folder}/jobs.db",
    "redis": redis.url_for,
    "postgres": postgres.url_for,
}


@pytest.mark.parametrize("backend", URLS)
def test_filled_documents_are_those_of_the_engine(modules: Any, backend: str, tmp_path: Path) -> None:
    """All have the fields of a job that was run, each lies where the engine finds it, and those that wait run."""
    app = zerog.App(URLS[backend](tmp_path))
    filling = modules[1]
    app.register(filling.Export)
    filling.fill(app, 300, 20)
    shown = list(app.jobs())
    statuses = [job["status"] for job in shown]
    counts = {status: statuses.count(status) for status in set(statuses)}
    assert counts == {"succeeded": 285, "failed": 15, "queued": 16, "scheduled": 4}
    assert len({job["uuid"] for job in shown}) == 320
    run = app.submit(filling.Export, filling.params(1))
    zerog.Worker(app).run(burst=True)
    genuine = app.datastore.read(make_key(run.uuid))
    for job in shown:
        document = app.datastore.read(make_key(job["uuid"]))
        check_head(make_key(job["uuid"]), document)
        if document["status"] == "succeeded":
            assert (document.keys() - {"queueJobId"}, len(document["events"])) == (genuine.keys() - {"queueJobId"}, 1)
            assert {k: type(v) for k, v in document.items()} == {k: type(v) for k, v in genuine.items()}
    assert app.count(status="queued").number == 0
    [failed] = app.jobs(status="failed", order="newest", limit=1)
    app.retry(failed["uuid"])
    zerog.Worker(app).run(burst=True)
    assert app.progress(failed["uuid"])["status"] == "failed"
    assert not [f.what for f in Doctor(app.engine, app.registry, app.fleet).examine().findings if f.needs_person]
    app.close()


def test_it_prints_a_line_for_each_question(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With the times beside few jobs and beside many."""
    finding, _ = modules
    finding.main(["--backends", "sqlite", "--few", "40", "--ended", "80", "--times", "1"])
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert heading == "| on | question | ms with 40 | ms with 80 | ratio |"
    app = zerog.App("memory://")
    assert [line.split(" | ")[1] for line in lines] == list(finding.questions(app))
