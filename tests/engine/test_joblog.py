"""The log of jobs: each transition once, by the process that made it, with fields, and nothing secret."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance.harness import Workers, run_worker
from tests.engine.engines import EACH_KIND, KINDS
from tests.marks import wide
from tests.preloaded import StartedProgram
from tests.processes import output
from zerog.cli.logging import _Plain
from zerog.contracts.datastore import RunGuard
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.jobs.logfields import JobFields
from zerog.records.job import CANCELLED, new_document
from zerog.testing.clock import ManualClock

MODULE = "tests.engine.logged_app"
CANARY = "kanarienvogel"

EXECUTORS = pytest.mark.parametrize(
    "options",
    [("--executor", "thread"), *wide((("--executor", "process"),), (("--executor", "process", "--processes", "2"),))],
)


def lines(w: Workers) -> list[dict[str, Any]]:
    """The workers' log as JSON, line by line."""
    return [json.loads(line) for line in w.log.read_text().splitlines() if line.startswith("{")]


def transitions(w: Workers) -> dict[str, list[str]]:
    """By uuid: the transitions of a job, in the order in which they were logged."""
    recorded = defaultdict(list)
    for line in lines(w):
        if "transition" in line:
            recorded[line["uuid"]].append(" ".join([line["transition"], *filter(None, [line.get("status")])]))
    return recorded


@EXECUTORS
def test_each_transition_is_logged_once(options: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever processes are between the worker and the run: one line a transition, errors beside them."""
    with Workers(tmp_path, "--log-format", "json", *options, module=MODULE) as w:
        talking = w.app.submit("talking", {"password": CANARY}).uuid
        twice = w.app.submit("twice").uuid
        raising = w.app.submit("raising").uuid
        worker = w.start()
        w.until_ended(3)
        worker.terminate()
        assert worker.wait(20) == 0
        assert transitions(w) == {
            talking: ["claimed", "finished succeeded"],
            twice: ["claimed", "requeued", "claimed", "requeued", "claimed", "finished succeeded"],
            raising: ["claimed", "finished failed"],
        }
        errors = {line["uuid"]: line for line in lines(w) if line["level"] == "ERROR"}
        assert errors.keys() == {twice, raising}
        assert "ZeroDivisionError" in errors[raising]["exc_info"]
        assert sum(line["level"] == "ERROR" for line in lines(w)) == 2


@EXECUTORS
def test_every_line_has_what_a_log_store_needs(options: tuple[str, ...], tmp_path: Path) -> None:
    """Timestamps in UTC, level, process; the job's names on its lines and on those of other loggers within its run."""
    with Workers(tmp_path, "--log-format", "json", *options, module=MODULE) as w:
        before = datetime.now(UTC)
        talking = w.app.submit("talking", {"password": CANARY})
        worker = w.start()
        w.until_ended(1)
        worker.terminate()
        assert worker.wait(20) == 0
        for line in lines(w):
            moment = datetime.fromisoformat(line["timestamp"])
            assert moment.utcoffset() == timedelta(0)
            assert before - timedelta(seconds=1) < moment < datetime.now(UTC)
            assert line["level"] in ("INFO", "WARNING")
            assert line["pid"] != os.getpid()
        named = {"logId": talking.logId, "uuid": talking.uuid, "jobType": "talking", "epoch": 1}
        about = [line for line in lines(w) if line.get("uuid") == talking.uuid]
        assert [line["logger"] for line in about] == ["zerog", "zerog", "shop", "zerog"]
        claimed, recorded, foreign, finished = about
        for line in about:
            assert line.items() >= named.items()
            assert line["worker"] == claimed["worker"]
        assert recorded["message"] == "recorded", "without the job's names, so that a log store can group lines"
        assert foreign["message"] == "from the shop's own logger"
        assert (claimed["attempts"], finished["resultCode"]) == (1, 200)
        assert 0 <= finished["seconds"] < 10


def test_no_parameter_and_no_output_is_logged(tmp_path: Path) -> None:
    """A parameter's value appears in no line at the finest level."""
    with Workers(tmp_path, "--log-level", "DEBUG", module=MODULE) as w:
        w.app.submit("talking", {"password": CANARY})
        worker = w.start()
        w.until_ended(1)
        worker.terminate()
        assert worker.wait(20) == 0
        assert "finished: succeeded" in w.log.read_text()
        assert CANARY not in w.log.read_text()


def test_a_url_is_logged_without_its_user(tmp_path: Path) -> None:
    """Even when it is the URL that is wrong."""
    (tmp_path / "far.py").write_text(
        f"import zerog\napp = zerog.App('nosuch://me:{CANARY}@db.example/0?key={CANARY}')\n"
    )
    result = run_worker(tmp_path, "far:app", "--log-level", "DEBUG")
    assert result.returncode == 2
    assert "nosuch://db.example/0" in result.stderr
    assert CANARY not in result.stdout + result.stderr


def test_plain_lines_begin_alike_and_name_the_job(tmp_path: Path) -> None:
    """Time in UTC, level, another logger's name, then the job, whichever code wrote the line; in 120 columns."""
    with Workers(tmp_path, module=MODULE) as w:
        talking = w.app.submit("talking", {"password": CANARY})
        worker = w.start()
        w.until_ended(1)
        worker.terminate()
        assert worker.wait(20) == 0
        about = [line for line in w.log.read_text().splitlines() if talking.uuid in line]
        assert max(map(len, about)) <= 120
        times, rest = zip(*(line.split(" ", 1) for line in about), strict=True)
        assert all(datetime.fromisoformat(time).utcoffset() == timedelta(0) for time in times)
        claimed, recorded, foreign, finished = rest
        assert claimed.startswith(f"INFO {talking.uuid} talking claimed by ") and claimed.endswith(", run 1")
        assert recorded == f"INFO {talking.uuid} talking recorded"
        assert foreign == f"WARNING shop {talking.uuid} talking from the shop's own logger"
        assert finished.startswith(f"INFO {talking.uuid} talking finished: succeeded with 200 after ")


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_a_failure_is_a_warning_with_the_exception_in_a_line(
    tmp_path: Path, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A log of warnings only shows which job failed, and of what, without a traceback."""
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as app, caplog.at_level(level, "zerog"):

        @app.job
        def faulty(job: zerog.BaseJob) -> None:
            raise ZeroDivisionError("a share of zero")

        faulty.job.MAX_ERRORS = 1
        app.submit(faulty)
        zerog.Worker(app).run(burst=True)
    raised, failed = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert (raised.levelname, failed.levelname) == ("ERROR", "WARNING")
    assert raised.getMessage().endswith(" raised ZeroDivisionError: a share of zero")
    assert "finished: failed with 500" in failed.getMessage()
    assert (len(caplog.records) == 2) == (level == logging.WARNING)


def test_levels_are_coloured_on_a_terminal_alone() -> None:
    """And a text can't add colours of its own."""
    record = logging.LogRecord("zerog", logging.ERROR, "", 0, "\x1b[32mfine", (), None)
    assert _Plain().format(record).endswith("Z ERROR \\x1b[32mfine")
    assert "\x1b[31mERROR\x1b[0m \\x1b[32mfine" in _Plain(is_coloured=True).format(record)


def test_a_release_and_a_rescue_are_logged_by_the_process_that_made_them(tmp_path: Path) -> None:
    """The worker that ends releases its job; the one that is killed can't, so another one logs it."""
    with Workers(tmp_path, "--lease", "1", "--log-format", "json", module=MODULE) as w:
        started = tmp_path / "started"
        uuid = w.app.submit("long", {"started": str(started)}).uuid

        def begin() -> StartedProgram:
            worker = w.start()
            w.until(started.exists)
            started.unlink()
            return worker

        first = begin()
        first.terminate()
        assert first.wait(20) == 0
        w.kill(begin())
        third = begin()
        recorded = [
            (line["transition"], line["pid"]) for line in lines(w) if line.get("uuid") == uuid and "transition" in line
        ]
        assert [what for what, _ in recorded] == ["claimed", "released", "claimed", "rescued", "claimed"]
        assert recorded[1][1] == first.pid
        assert recorded[3][1] == recorded[4][1] == third.pid
        rescued = next(line for line in lines(w) if line.get("transition") == "rescued")
        assert rescued["level"] == "WARNING"
        assert rescued["reason"].endswith("is gone")


def test_nothing_is_logged_below_the_level(tmp_path: Path) -> None:
    """At WARNING a day without trouble leaves an empty log."""
    with Workers(tmp_path, "--log-level", "WARNING", "--processes", "2", module="tests.acceptance.jobs") as w:
        w.app.submit_many("square", ({"number": number} for number in range(50)))
        worker = w.start()
        w.until_ended(50)
        worker.terminate()
        assert worker.wait(20) == 0
        assert w.log.read_text() == ""


def test_the_library_configures_nothing() -> None:
    """A program with its own logging sees every transition with its fields, through its own formatter alone."""
    printed = output(
        """
        import logging, sys, zerog
        app = zerog.App("memory://")

        class Hello(zerog.BaseJob):
            JOB_TYPE = "hello"
            def run(self):
                logging.getLogger("mine").info("hello")

        app.register(Hello)
        uuid = app.submit("hello").uuid
        zerog.Worker(app).run(burst=True)
        assert not logging.root.handlers and not logging.getLogger("zerog").handlers
        assert logging.getLogger("zerog").level == logging.NOTSET

        handler = logging.StreamHandler(sys.stdout)
        handler.addFilter(zerog.jobs.logfields.JobFields())
        handler.addFilter(lambda record: hasattr(record, "uuid"))
        handler.setFormatter(logging.Formatter("%(jobType)s %(epoch)s %(name)s %(msg).7s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        app.retry(uuid)
        zerog.Worker(app).run(burst=True)
        """
    )
    assert printed.splitlines() == [
        "hello 2 zerog %s %s %",
        "hello 3 zerog %s %s %",
        "hello 3 mine hello",
        "hello 3 zerog %s %s %",
    ]


# what is logged by clients and by reconcile, on every engine


@pytest.fixture(params=EACH_KIND)
def recorded(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Any:
    """An engine, and what it logged so far."""
    clock = ManualClock()
    engine = KINDS[request.param].open(tmp_path, clock)
    caplog.set_level(logging.INFO, "zerog")

    def so_far() -> list[tuple[str, str]]:
        return [(r.transition, r.uuid) for r in caplog.records if hasattr(r, "transition")]

    yield engine, clock, so_far
    engine.close()


def submitted(engine: Any, delay: float = 0) -> str:
    now = engine.clock.now().isoformat()
    [(document, _)] = engine.submit([new_document("demo", 1.0, now)], delay)
    return str(document["uuid"])


def claim(engine: Any) -> Any:
    [claim] = engine.claim(1, WorkerIdentity("w", 30), lambda head: None)
    return claim


def test_submit_cancel_and_retry_are_logged(recorded: Any, caplog: pytest.LogCaptureFixture) -> None:
    engine, _, so_far = recorded
    uuid = submitted(engine, delay=60)
    engine.enqueue(uuid)
    engine.cancel(uuid)
    with pytest.raises(zerog.JobStateError):
        engine.cancel(uuid)
    engine.retry(uuid, "because\nwe can")
    assert so_far() == [(what, uuid) for what in ("submitted", "submitted", "cancelled", "retried")]
    texts = [record.getMessage() for record in caplog.records]
    assert "not before 2026-01-01T00:01:00" in texts[0]
    assert "enqueued again" in texts[1]
    assert texts[3].endswith("retried after cancelled with 410: because\\nwe can")
    assert all(text.startswith(f"{uuid[-8:]} demo {uuid} ") for text in texts)


def test_cancelling_a_running_job_is_logged_once(recorded: Any) -> None:
    engine, _, so_far = recorded
    uuid = submitted(engine)
    claim(engine)
    engine.cancel(uuid)
    engine.cancel(uuid)
    assert so_far() == [("submitted", uuid), ("cancel requested", uuid)]


def test_a_rescued_and_a_released_run_are_logged_with_the_reason(
    recorded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine, _, so_far = recorded
    uuid = submitted(engine)
    assert engine.rescue(uuid, claim(engine).run, "crashes", "its process died")
    assert engine.release(uuid, claim(engine).run, "the worker leaves")
    assert not engine.release(uuid, RunGuard(1, "n"), "too late")
    assert so_far() == [(what, uuid) for what in ("submitted", "rescued", "released")]
    assert [(r.levelname, r.reason) for r in caplog.records[1:]] == [
        ("ERROR", "its process died"),
        ("INFO", "the worker leaves"),
    ]
    run = claim(engine).run
    engine.cancel(uuid)
    assert engine.rescue(uuid, run, "lost", "its worker was silent")
    assert (caplog.records[-1].transition, caplog.records[-1].status) == ("finished", "cancelled")


def test_a_repair_is_logged(recorded: Any) -> None:
    """A document whose writer died before it reached the queue."""
    engine, clock, so_far = recorded
    now = clock.now().isoformat()
    uuid = new_document("demo", 1.0, now)["uuid"]
    [(document, _)] = engine.submit([new_document("demo", 1.0, now, uuid)])
    engine.datastore.update(f"zerog_job_{uuid}", {**document, "queueState": "pending", "due": now})
    assert engine.put_again_all([uuid], "its writer did not") == [uuid]
    assert so_far() == [("submitted", uuid), ("put again", uuid)]


def test_a_released_job_that_was_cancelled_is_logged_as_cancelled(recorded: Any) -> None:
    """The run requests another one, and there won't be any."""
    engine, _, so_far = recorded
    uuid = submitted(engine)
    mine = claim(engine)
    engine.cancel(uuid)
    settlement = Settlement(mine, "requeue", 1)
    assert engine.settle([settlement]) == [True]
    assert settlement.status == "cancelled"
    assert engine.read(uuid)[0]["resultCode"] == CANCELLED
    assert so_far() == [("submitted", uuid), ("cancel requested", uuid)]


def test_records_outside_any_run_are_left_alone() -> None:
    record = logging.LogRecord("shop", logging.INFO, "", 0, "hello", (), None)
    assert JobFields().filter(record)
    assert not hasattr(record, "logId")


@pytest.mark.parametrize("log_id", [None, 7, "x\ny"])
def test_a_record_is_one_line_whatever_it_contains(log_id: object) -> None:
    """What looks like a separate record could be believed; a logId may be anything that some logger gave."""
    record = logging.LogRecord("shop", logging.INFO, "", 0, "one\ntwo\r\nthree", (), None)
    record.logId = log_id
    line = _Plain().format(record)
    assert line.endswith("one\\ntwo\\r\\nthree")
    assert len(line.splitlines()) == 1


def test_the_last_words_of_a_worker_are_a_sentence(tmp_path: Path) -> None:
    with Workers(tmp_path, module=MODULE) as w:
        w.app.submit("talking", {"password": CANARY})
        assert w.start("--burst").wait(30) == 0
        assert re.search(r"worker \S+ ended after \d+\.\d s; 1 run: 1 succeeded\n$", w.log.read_text())
