"""One thing done to many jobs: its number, what became of each, and the receipt by which it continues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import zerog
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable, InvalidValue
from zerog.records.job import new_uuid
from zerog.testing import ManualClock, run_inline


class Fails(zerog.BaseJob):
    """Fails at each run."""

    JOB_TYPE = "fails"
    MAX_ERRORS = 1

    def run(self) -> None:
        raise ValueError("no")


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://", clock=ManualClock())
    app.register(Fails)
    return app


def failed(app: zerog.App, count: int) -> list[str]:
    """The uuids of failed jobs, the oldest first."""
    uuids = []
    for _ in range(count):
        uuids.append(app.submit(Fails).uuid)
        app.clock.advance(1)
    run_all(app)
    return uuids


def run_all(app: zerog.App) -> None:
    app.clock.advance(1)
    for job in list(app.jobs(status="queued")):
        run_inline(app, job["uuid"])


def events(app: zerog.App, uuid: str) -> list[str]:
    return [event["msg"] for event in app.info(uuid)["events"] if event["msg"].startswith("retried")]


class Dies(BaseException):
    """As if the process was killed: nothing handles it."""


def dying(app: zerog.App, verb: str, at: str, before: bool, patch: pytest.MonkeyPatch) -> None:
    """Let the process die at one job, before it is done or afterwards."""
    do = getattr(app, verb)

    def deed(uuid: str, *args: Any, **options: Any) -> Any:
        if uuid == at and before:
            raise Dies
        answer = do(uuid, *args, **options)
        if uuid == at:
            raise Dies
        return answer

    patch.setattr(app, verb, deed)


def test_the_number_comes_first_and_each_job_is_reported(app: zerog.App) -> None:
    """In their order; one that can't be done has a reason and doesn't stop the rest."""
    made = failed(app, 3)
    bulk = app.bulk("retry", reason="the disk is empty again", who="anna")
    assert bulk.count(app.jobs(status="failed")) == 3
    assert [app.progress(uuid)["status"] for uuid in made] == ["failed"] * 3
    unknown = new_uuid()
    outcomes = list(bulk.run([made[0], unknown, made[2]]))
    assert [(each.uuid, each.done, each.became) for each in outcomes] == [
        (made[0], True, "queued"),
        (unknown, False, None),
        (made[2], True, "queued"),
    ]
    assert unknown in str(outcomes[1].why)
    assert events(app, made[0]) == ["retried by anna after failed with 500: the disk is empty again"]


@pytest.mark.parametrize(
    ("verb", "options", "became", "status"),
    [
        ("cancel", {}, "cancelled", "cancelled"),
        ("move", {"queue": "slow", "priority": 3, "who": "anna"}, "moved", "queued"),
    ],
)
def test_waiting_jobs(app: zerog.App, verb: str, options: dict[str, Any], became: str, status: str) -> None:
    """Done to those of the filters alone, up to the limit."""
    made = [app.submit(Fails).uuid for _ in range(3)]
    outcomes = list(app.bulk(verb, limit=2, **options).run(app.jobs(status="queued")))
    assert [each.became for each in outcomes] == [became, became]
    assert sorted(each.uuid for each in outcomes) == sorted(made)[:2]
    assert {app.progress(each.uuid)["status"] for each in outcomes} == {status}


def test_ended_jobs_are_removed(app: zerog.App) -> None:
    failed(app, 2)
    assert [each.became for each in app.bulk("discard").run(app.jobs())] == ["removed", "removed"]
    assert list(app.jobs()) == []


@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_was_killed_continues(
    app: zerog.App, tmp_path: Path, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job is retried once, also the one at which the process died, although all have failed again meanwhile."""
    made, file = failed(app, 4), tmp_path / "receipt.jsonl"
    options = {"receipt": file, "reason": "again"}
    with monkeypatch.context() as patch:
        dying(app, "retry", made[1], before, patch)
        with pytest.raises(Dies):
            list(app.bulk("retry", **options).run(app.jobs(status="failed")))
    run_all(app)
    again = app.bulk("retry", **options)
    assert again.count(app.jobs(status="failed")) == 3
    outcomes = list(again.run(app.jobs(status="failed")))
    assert [each.uuid for each in outcomes] == made[1:]
    assert [len(events(app, uuid)) for uuid in made] == [1, 1, 1, 1]
    assert outcomes[0].done is before
    if not before:
        assert "may have done it" in str(outcomes[0].why)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == {"receipt": 1, "verb": "retry", "options": {"reason": "again"}}
    assert [line["uuid"] for line in lines[1:]] == made
    assert lines[1]["became"] == "queued"
    run_all(app)
    assert list(app.bulk("retry", **options).run(app.jobs(status="failed"))) == []


def test_the_limit_counts_the_jobs_of_the_receipt(app: zerog.App, tmp_path: Path) -> None:
    """The same command a second time doesn't go on beyond it."""
    failed(app, 5)
    for expected in (2, 0):
        bulk = app.bulk("retry", limit=2, receipt=tmp_path / "r")
        assert len(list(bulk.run(app.jobs(status="failed")))) == expected


def test_an_outage_ends_it_and_the_receipt_continues(
    app: zerog.App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All further jobs would fail, too; an unknown answer of one job is its own."""
    made = [app.submit(Fails).uuid for _ in range(3)]
    answers = {made[0]: AmbiguousWrite("no answer"), made[1]: DatastoreUnavailable("gone")}

    def fail(uuid: str) -> str:
        raise answers[uuid]

    with monkeypatch.context() as patch:
        patch.setattr(app, "cancel", fail)
        run = app.bulk("cancel", receipt=tmp_path / "r").run(made)
        assert next(run).why == "no answer"
        with pytest.raises(DatastoreUnavailable):
            next(run)
    outcomes = list(app.bulk("cancel", receipt=tmp_path / "r").run(made))
    assert [(each.uuid, each.became) for each in outcomes] == [(made[1], "cancelled"), (made[2], "cancelled")]


@pytest.mark.parametrize("text", ["hello", "hello\n", '{"a": 1}\n', '["receipt"]\n', '{"receipt": 2}\n', "\xff\n"])
def test_another_file_is_left_as_it_is(app: zerog.App, tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"notes\.txt is no receipt"):
        app.bulk("cancel", receipt=file)
    assert file.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("torn", ['{"receipt', '{"receipt":1,"verb":"cancel","options":{}}\n{"uuid":"0190'])
def test_a_receipt_that_was_cut_off_anywhere_continues(app: zerog.App, tmp_path: Path, torn: str) -> None:
    """What was not written when the process died was not done."""
    file, uuid = tmp_path / "r", app.submit(Fails).uuid
    file.write_text(torn)
    assert [each.became for each in app.bulk("cancel", receipt=file).run(app.jobs())] == ["cancelled"]
    assert [json.loads(line).get("uuid") for line in file.read_text().splitlines()] == [None, uuid]


def test_a_receipt_is_of_one_action(app: zerog.App, tmp_path: Path) -> None:
    """Another verb, or other options, need another file."""
    app.bulk("retry", receipt=tmp_path / "r", reason="a").close()
    for verb, options in (("cancel", {}), ("retry", {"reason": "b"})):
        with pytest.raises(ConfigurationError, match="give another file"):
            app.bulk(verb, receipt=tmp_path / "r", **options)
    with pytest.raises(ConfigurationError, match="can't be opened"):
        app.bulk("cancel", receipt=tmp_path)


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("purge", {}, "expected one of cancel, retry, discard, move"),
        ("cancel", {"reason": "no"}, "options of cancel"),
        ("retry", {"limit": 0}, "limit=0"),
        ("retry", {"limit": True}, "limit=True"),
    ],
)
def test_misuse_is_refused_before_anything_is_done(
    app: zerog.App, verb: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        app.bulk(verb, **options)
