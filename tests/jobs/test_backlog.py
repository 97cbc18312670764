"""``max_waiting`` of a queue: submits beyond it are refused, and nothing is paid for by those who set none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.marks import wide
from zerog.contracts.datastore import FindQuery
from zerog.engine.live import LOOK
from zerog.exceptions import DatastoreUnavailable, QueueUnavailable
from zerog.jobs.backlog import COUNTED
from zerog.records.job import new_uuid
from zerog.records.keys import SETTINGS
from zerog.testing.clock import ManualClock


class Report(zerog.BaseJob):
    JOB_TYPE = "report"
    QUEUE = "reports"

    def run(self) -> Any:
        return 200


def opened(url: str, folder: Path) -> zerog.App:
    app = zerog.App(url.format(folder=folder), clock=ManualClock())
    app.register(Report)
    return app


@pytest.fixture
def app(tmp_path: Path) -> zerog.App:
    return opened("memory://", tmp_path)


def stored(app: zerog.App) -> int:
    return len(app.datastore.find(FindQuery()).heads)


def pass_time(app: zerog.App, seconds: float) -> None:
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds)


@pytest.mark.parametrize("url", ["memory://", *wide("sqlite:///{folder}/jobs.db")])
def test_a_submit_beyond_the_limit_is_refused_in_words(url: str, tmp_path: Path) -> None:
    """One by one and many at once, scheduled ones, too; other queues take theirs."""
    with opened(url, tmp_path) as app:
        app.fleet.settings.set_queue("reports", max_waiting=3)
        app.submit(Report)
        app.submit(Report, delay=60)
        with pytest.raises(
            zerog.QueueFull, match="2 jobs wait on queue reports, and its max_waiting is 3; 2 jobs were"
        ):
            app.submit_many(Report, [{}, {}])
        app.submit(Report)
        with pytest.raises(zerog.QueueFull, match=r"the job was refused\. Nothing was stored"):
            app.submit(Report)
        assert stored(app) == 3
        app.submit(Report, queue="other")


def test_there_is_room_again_once_jobs_have_been_taken(app: zerog.App) -> None:
    app.fleet.settings.set_queue("reports", max_waiting=2)
    app.submit_many(Report, [{}, {}])
    zerog.Worker(app, queues=["reports"]).run(burst=True)
    pass_time(app, COUNTED)
    app.submit(Report)


def test_a_change_is_followed_within_seconds(app: zerog.App) -> None:
    app.submit(Report)
    app.fleet.settings.set_queue("reports", max_waiting=1)
    app.submit(Report)
    pass_time(app, LOOK)
    with pytest.raises(zerog.QueueFull):
        app.submit(Report)
    app.fleet.settings.set_queue("reports", max_waiting=None)
    pass_time(app, LOOK)
    app.submit(Report)


def test_another_client_s_jobs_count_within_a_second(tmp_path: Path) -> None:
    url = "sqlite:///{folder}/jobs.db"
    with opened(url, tmp_path) as mine, opened(url, tmp_path) as other:
        mine.fleet.settings.set_queue("reports", max_waiting=3)
        mine.submit(Report)
        other.submit_many(Report, [{}, {}])
        pass_time(mine, COUNTED)
        with pytest.raises(zerog.QueueFull):
            mine.submit(Report)


def test_retries_and_jobs_that_run_again_are_never_refused(app: zerog.App) -> None:
    failed = app.submit(Report).uuid
    app.cancel(failed)
    app.fleet.settings.set_queue("reports", max_waiting=1)
    app.submit(Report)
    app.retry(failed)
    assert app.progress(failed)["status"] == "queued"


@pytest.mark.parametrize("url", ["memory://", *wide("sqlite:///{folder}/jobs.db")])
def test_a_move_to_a_full_queue_is_refused_and_the_job_stays(url: str, tmp_path: Path) -> None:
    """It can be moved once there is room; scheduled jobs need room, too."""
    with opened(url, tmp_path) as app:
        app.fleet.settings.set_queue("reports", max_waiting=2)
        app.submit(Report)
        first, second, later = [app.submit(Report, queue="other", delay=delay).uuid for delay in (0, 0, 60)]
        assert app.move(first, "reports")
        for uuid in (second, later):
            before = app.engine.read(uuid)
            words = (
                rf"2 jobs wait .* max_waiting is 2; the job was refused\. Job {uuid} stays on queue other; try again"
            )
            with pytest.raises(zerog.QueueFull, match=words):
                app.move(uuid, "reports", priority=3)
            assert app.engine.read(uuid) == before
        app.move(first, "other")
        pass_time(app, COUNTED)
        assert app.move(second, "reports")
        assert app.progress(second)["queueName"] == "reports"
        zerog.Worker(app, queues=["reports", "other"]).run(burst=True)
        assert app.progress(second)["status"] == "succeeded"


def test_a_move_that_brings_no_job_to_a_full_queue_is_not_refused(app: zerog.App) -> None:
    """To another priority, to where the job is, out of it; one that can't be moved is refused for that."""
    app.fleet.settings.set_queue("reports", max_waiting=1)
    uuid, ended = app.submit(Report).uuid, app.submit(Report, queue="other").uuid
    app.cancel(ended)
    assert app.move(uuid, priority=3)
    assert app.move(uuid, "reports", priority=4)
    assert not app.move(uuid, "reports")
    with pytest.raises(zerog.JobStateError, match="is cancelled"):
        app.move(ended, "reports")
    with pytest.raises(zerog.JobNotFound):
        app.move(new_uuid(), "reports")
    with pytest.raises(zerog.InvalidValue):
        app.move(uuid, "")
    assert app.move(uuid, "other")


def test_many_moves_fill_the_queue_and_name_each_job_that_stays(app: zerog.App, tmp_path: Path) -> None:
    """In what is yielded and in the receipt."""
    app.fleet.settings.set_queue("reports", max_waiting=2)
    uuids = [app.submit(Report, queue="other").uuid for _ in range(4)]
    receipt = tmp_path / "receipt"
    outcomes = list(app.bulk("move", queue="reports", receipt=receipt).run(uuids))
    assert [outcome.became for outcome in outcomes] == ["moved", "moved", None, None]
    assert [app.progress(uuid)["queueName"] for uuid in uuids] == ["reports", "reports", "other", "other"]
    for uuid in uuids[2:]:
        [line] = [line for line in receipt.read_text().splitlines() if uuid in line]
        assert f"Job {uuid} stays on queue other" in line


def test_who_sets_no_limit_pays_one_read_now_and_then(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    original = app.datastore.read_with_cas

    def read_with_cas(key: str, *rest: Any, **more: Any) -> Any:
        reads.append(key)
        return original(key, *rest, **more)

    monkeypatch.setattr(app.datastore, "read_with_cas", read_with_cas)
    monkeypatch.setattr(app.queue, "size", None)
    for _ in range(50):
        app.submit(Report)
    assert reads == [SETTINGS]


@pytest.mark.parametrize("what", ["settings", "queue"])
def test_what_can_t_be_read_refuses_nothing(app: zerog.App, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def away(*_arguments: Any, **_more: Any) -> Any:
        raise (DatastoreUnavailable if what == "settings" else QueueUnavailable)("away")

    app.fleet.settings.set_queue("reports", max_waiting=1)
    app.submit(Report)
    if what == "settings":
        app.datastore.set(SETTINGS, {"documentType": SETTINGS, "queues": 7})
        pass_time(app, LOOK)
        with pytest.raises(zerog.QueueFull):
            app.submit(Report)  # the last ones that could be read hold
    else:
        monkeypatch.setattr(app.engine.queue_named("reports"), "size", away)
        pass_time(app, COUNTED)
        app.submit(Report)
