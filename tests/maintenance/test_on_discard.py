"""``on_discard``: called before a job is removed, by whatever removes it, and never in the way of other jobs."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from marshmallow import Schema, fields

import zerog
from tests.maintenance.doctors import doctor_of
from tests.processes import until
from tests.programs import python
from zerog.cli.root import cli
from zerog.maintenance import discards
from zerog.records.job import make_key
from zerog.testing import ManualClock, drain

DAY = 86_400.0
CALLS: list[str] = []
GATE = threading.Event()


class Import(zerog.BaseJob):
    """Raises as its parameter says."""

    JOB_TYPE = "import"
    RETAIN = RETAIN_FAILED = DAY

    class Params(Schema):
        fault = fields.String(load_default="")

    fault: str

    def run(self) -> Any:
        return 200

    def on_discard(self) -> None:
        CALLS.append(self.uuid)
        if self.fault == "hang":
            assert GATE.wait(60)
        elif self.fault == "exit":
            raise SystemExit(3)
        elif self.fault:
            raise OSError(self.fault)


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"
    RETAIN = DAY

    def run(self) -> Any:
        return 200


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLS.clear()
    GATE.clear()


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://", clock=ManualClock())
    app.register(Import, Plain)
    return app


def ended(app: zerog.App, job_class: type[zerog.BaseJob] = Import, **params: Any) -> str:
    uuid = app.submit(job_class, params).uuid
    drain(app)
    return uuid


def later(app: zerog.App, seconds: float) -> None:
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds)


def is_there(app: zerog.App, uuid: str) -> bool:
    return app.datastore.read(make_key(uuid)) is not None


def test_discard_calls_it(app: zerog.App) -> None:
    uuid = ended(app)
    app.discard(uuid)
    assert (CALLS, is_there(app, uuid)) == ([uuid], False)


def test_retention_calls_it_and_not_before_its_time(app: zerog.App) -> None:
    uuid, other = ended(app), ended(app, Plain)
    assert app.reconcile().removed == []
    later(app, DAY + 1)
    assert sorted(app.reconcile().removed) == sorted([uuid, other])
    assert [uuid] == CALLS


def test_what_one_document_makes_fail_keeps_no_other(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a removal raises that is no outage: the jobs after it on the page are removed."""
    odd, others = ended(app), [ended(app) for _ in range(3)]
    later(app, DAY + 1)
    remove = app.engine.discard_all

    def broken(heads: Any, *args: Any) -> list[str]:
        if heads[0]["uuid"] == odd:
            raise TypeError("a field of another kind")
        return remove(heads, *args)

    monkeypatch.setattr(app.engine, "discard_all", broken)
    assert sorted(app.reconcile().removed) == sorted(others)
    assert is_there(app, odd)


@pytest.mark.parametrize("fault", ["the share is gone", "exit"])
def test_one_that_fails_is_tried_again_later(
    app: zerog.App, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Less and less often, while other jobs are removed; it is logged, and shown by doctor and the command line."""
    bad = ended(app, fault=fault)
    later(app, 1)
    good = [ended(app) for _ in range(3)]
    later(app, DAY + 1)
    monkeypatch.setattr(discards, "PAGE", 1)  # it is the first one of its page
    removed = [uuid for _ in range(6) for uuid in app.reconcile().removed]
    assert sorted(removed) == sorted(good)
    assert CALLS.count(bad) == 1
    later(app, 21)
    app.reconcile()
    later(app, 21)
    app.reconcile()
    assert CALLS.count(bad) == 2
    text = "SystemExit: 3" if fault == "exit" else f"OSError: {fault}"
    assert f"on_discard of job {bad} failed, so it is kept: {text}" in caplog.text
    [finding] = [f for f in doctor_of(app, "shop:app").examine().findings if "on_discard" in f.what]
    assert finding.jobs == {bad: f"import, 2 times: {text}"}
    assert finding.command == f"zerog jobs rm shop:app --no-on-discard {bad}"
    app.edit(bad, {"fault": ""}, who="ann", reason="mended")
    later(app, 41)
    assert app.reconcile().removed == [bad]


def test_a_discard_that_fails_is_an_error_that_names_it(app: zerog.App) -> None:
    uuid = ended(app, fault="the share is gone")
    with pytest.raises(zerog.JobStateError, match=rf"{uuid} is kept.*OSError: the share is gone; on_discard=False"):
        app.discard(uuid)
    assert app.info(uuid)["status"] == "succeeded"
    app.discard(uuid, on_discard=False)
    assert (CALLS, is_there(app, uuid)) == ([uuid], False)


def test_a_program_without_the_class_keeps_the_job(app: zerog.App) -> None:
    """Which it can't clean up after; of a class without one it removes it."""
    uuid, plain = ended(app), ended(app, Plain)
    app.unregister("import")
    app.unregister("plain")
    later(app, 2 * DAY)
    assert app.reconcile().removed == []
    with pytest.raises(zerog.JobStateError, match=f"{uuid}.*on_discard.*'import'.*Nothing was removed"):
        app.discard(uuid)
    app.discard(plain)
    app.discard(uuid, on_discard=False)
    assert not is_there(app, uuid)


def test_doctor_names_what_no_sweeper_can_remove(app: zerog.App) -> None:
    """A doctor that has the class, after a quarter of an hour."""
    ended(app)
    later(app, DAY + 1000)
    findings = [f.what for f in doctor_of(app, "shop:app").examine().findings]
    assert any("succeeded jobs of type import are not removed" in what for what in findings)


def test_one_that_hangs_holds_up_no_other_class(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and finished when it ends."""
    monkeypatch.setattr(discards, "WAIT", 0.01)
    caplog.set_level(logging.WARNING, logger="zerog")
    hanging, plain = ended(app, fault="hang"), ended(app, Plain)
    later(app, DAY + 1)
    removed = app.reconcile().removed
    assert removed == [plain]
    until(lambda: len(CALLS) == 1)
    later(app, 61)
    app.reconcile()
    app.reconcile()
    assert caplog.text.count(f"on_discard of job {hanging} has not ended for 60 s") == 1
    assert [hanging] == CALLS
    GATE.set()
    monkeypatch.setattr(discards, "WAIT", 60)
    assert app.reconcile().removed == [hanging]


def test_classes_without_it_need_no_thread(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = [ended(app, Plain) for _ in range(3)]
    document = app.datastore.read(make_key(uuids[0]))
    assert document is not None
    assert "onDiscard" not in document
    later(app, DAY + 1)
    monkeypatch.setattr(threading.Thread, "start", lambda _self: pytest.fail("a thread was started"))
    assert sorted(app.reconcile().removed) == sorted(uuids)


def test_an_asynchronous_one_is_refused() -> None:
    class Async(Plain):
        JOB_TYPE = "async"

        async def on_discard(self) -> None:  # type: ignore[override]
            pass

    with pytest.raises(zerog.InvalidJobClass, match=r"Async.on_discard is asynchronous; expected def on_discard"):
        zerog.App("memory://").register(Async)


def test_one_that_returns_something_has_failed(app: zerog.App) -> None:
    class Odd(Plain):
        JOB_TYPE = "odd"

        def on_discard(self) -> None:
            return 5  # type: ignore[return-value]

    app.register(Odd)
    with pytest.raises(zerog.JobStateError, match=r"on_discard\(\) returned 5; expected None"):
        app.discard(ended(app, Odd))


PROGRAM = """
import sys
from pathlib import Path
import zerog
from zerog.support import failpoints

app = zerog.App("sqlite:///jobs.db")

class Import(zerog.BaseJob):
    JOB_TYPE = "import"
    RETAIN = None if sys.argv[1] == "submit" else 0.001

    def run(self):
        return 200

    def on_discard(self):
        with open("calls", "a") as file:
            file.write(f"{self.uuid}\\n")

app.register(Import)
if __name__ == "__main__":
    if sys.argv[1] == "submit":
        print(app.submit(Import).uuid)
        zerog.Worker(app).run(burst=True)
    else:
        if sys.argv[1] == "kill":
            failpoints.arm("discard.delete", "kill")
        app.reconcile()
"""


def test_a_kill_between_the_call_and_the_removal_repeats_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        PROGRAM.replace("RETAIN = 0", "RETAIN = 0 if sys.argv[1:2] != ['submit'] else 9")
    )

    def run(verb: str) -> subprocess.CompletedProcess[str]:
        return python().run("program.py", verb, folder=tmp_path)

    uuid = run("submit").stdout.strip()
    assert run("kill").returncode == -signal.SIGKILL
    assert (tmp_path / "calls").read_text().split() == [uuid]
    assert run("sweep").returncode == 0
    assert (tmp_path / "calls").read_text().split() == [uuid] * 2
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    assert list(app.jobs()) == []
    app.close()


def test_the_command_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """jobs rm keeps the job, jobs show shows why, and --no-on-discard removes it."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = zerog.App(url)
    app.register(Import)
    uuid = ended(app, fault="the share is gone")
    with pytest.raises(zerog.JobStateError):
        app.discard(uuid)
    (tmp_path / "bare_app.py").write_text(f"import zerog\napp = zerog.App({url!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = CliRunner().invoke
    shown = run(cli, ["jobs", "show", "bare_app:app", uuid])
    assert "on_discard failed once, at " in shown.stdout
    assert "OSError: the share is gone" in shown.stdout
    refused = run(cli, ["jobs", "rm", "bare_app:app", uuid])
    assert (refused.exit_code, "no class is registered for 'import'" in refused.stderr.replace("\n", " ")) == (1, True)
    assert run(cli, ["jobs", "rm", "bare_app:app", "--no-on-discard", uuid]).exit_code == 0
    assert list(app.jobs()) == []
    app.close()
