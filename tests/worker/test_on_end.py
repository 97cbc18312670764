"""``on_end``: called for every way in which a job can end, by a job of its own with tries of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.records.job import make_key
from zerog.testing import ManualClock, drain

CALLS: list[tuple[str, str, int]] = []


class Order(zerog.BaseJob):
    """Ends as its parameter says, and notes each call of ``on_end``."""

    JOB_TYPE = "order"
    MAX_ERRORS = 2
    QUEUE = "orders"

    class Params(Schema):
        end = fields.String(load_default="succeed")

    end: str

    def run(self) -> Any:
        if self.end == "fail":
            raise ValueError("no")
        return {"fine": True} if self.end == "succeed" else int(self.end)

    def on_end(self, status: str) -> None:
        CALLS.append((self.uuid, status, self.resultCode))


class Quiet(zerog.BaseJob):
    JOB_TYPE = "quiet"

    def run(self) -> Any:
        return 200


@pytest.fixture(autouse=True)
def calls() -> list[tuple[str, str, int]]:
    CALLS.clear()
    return CALLS


class Sequel(zerog.BaseJob):
    """Submits another job at its end."""

    JOB_TYPE = "sequel"

    def run(self) -> Any:
        return 200

    def on_end(self, status: str) -> None:
        self.submit(Quiet)


def app_of(*classes: type[zerog.BaseJob]) -> zerog.App:
    app = zerog.App("memory://", clock=ManualClock())
    app.register(*classes)
    return app


@pytest.mark.parametrize(
    ("end", "expected"),
    [("succeed", ("succeeded", 200)), ("fail", ("failed", 500)), ("404", ("failed", 404)), ("204", ("succeeded", 204))],
)
def test_it_is_called_once_for_an_end(end: str, expected: tuple[str, int], calls: Any) -> None:
    app = app_of(Order)
    uuid = app.submit(Order, {"end": end}).uuid
    drain(app)
    assert calls == [(uuid, *expected)]
    assert drain(app) == []
    follower = next(app.jobs(job_type="order.on_end"))
    assert (follower["parent"], follower["status"], follower["queueName"]) == (uuid, "succeeded", "orders")


@pytest.mark.parametrize("delay", [0, 3600])
def test_a_job_that_is_cancelled_before_it_runs_has_its_call(delay: float, tmp_path: Path, calls: Any) -> None:
    """Also if the program that cancels it doesn't know its class."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = zerog.App(url)
    app.register(Order)
    uuid = app.submit(Order, delay=delay).uuid
    other = zerog.App(url)
    assert other.cancel(uuid) == "cancelled"
    other.close()
    drain(app)
    assert calls == [(uuid, "cancelled", 410)]
    app.close()


def test_a_job_that_has_crashed_too_often_has_its_call(calls: Any) -> None:
    app = app_of(Order)
    uuid = app.submit(Order).uuid
    document = app.datastore.read(make_key(uuid))
    app.datastore.set(make_key(uuid), {**document, "crashes": 3})
    drain(app)
    assert calls == [(uuid, "failed", 500)]


def test_a_call_that_fails_is_tried_again(calls: Any) -> None:
    """Without a change of the job that has ended, whose own tries are over."""
    tries = []

    class Mailing(Order):
        JOB_TYPE = "mailing"

        def on_end(self, status: str) -> None:
            tries.append(status)
            if len(tries) < 3:
                raise ConnectionError("no mail server")

    app = app_of(Mailing)
    uuid = app.submit(Mailing).uuid
    before = app.datastore.read(make_key(uuid))
    drain(app)
    assert tries == ["succeeded"] * 3
    assert before is not None
    job = app.get_job(uuid)
    assert (job.status, job.errorCount) == ("succeeded", 0)
    [follower] = app.jobs(job_type="mailing.on_end")
    assert (follower["status"], follower["errorCount"]) == ("succeeded", 2)


def test_it_may_be_a_coroutine(calls: Any) -> None:
    class Async(Order):
        JOB_TYPE = "async_order"

        async def on_end(self, status: str) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            CALLS.append((self.uuid, status, 0))

    app = app_of(Async)
    uuid = app.submit(Async).uuid
    drain(app)
    assert calls == [(uuid, "succeeded", 0)]


def test_each_end_of_a_retried_job_has_its_call(calls: Any) -> None:
    """Also one whose follower no sweep had submitted before the retry."""
    app = app_of(Order)
    uuid = app.submit(Order, {"end": "404"}).uuid
    zerog.Worker(app, queues=["orders"]).run(burst=True)
    calls.clear()
    if app.progress(uuid)["status"] == "failed":
        app.retry(uuid)
    drain(app)
    assert [status for _, status, _ in calls][-1] == "failed"
    assert len(list(app.jobs(job_type="order.on_end"))) == 2


def test_it_may_submit_another_job_whose_parent_is_the_one_that_ended() -> None:
    app = app_of(Sequel, Quiet)
    uuid = app.submit(Sequel).uuid
    assert {job.status for job in drain(app)} == {"succeeded"}
    assert [job["parent"] for job in app.jobs(job_type="quiet")] == [uuid]


def test_a_class_without_it_has_no_follower() -> None:
    app = app_of(Quiet)
    uuid = app.submit(Quiet).uuid
    drain(app)
    document = app.datastore.read(make_key(uuid))
    assert document is not None
    assert (document["follower"], document["due"]) == (None, None)
    assert len(list(app.jobs())) == 1


def test_the_types_that_clients_submit_don_t_include_it() -> None:
    app = app_of(Order, Quiet)
    assert [described["jobType"] for described in app.types()] == ["order", "quiet"]
    app.unregister("order")
    with pytest.raises(zerog.UnknownJobType):
        app.job_class("order.on_end")


def test_real_workers_call_it(tmp_path: Path, calls: Any) -> None:
    """A sweep submits the follower, and the next worker runs it."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Order)
    uuids = app.submit_many(Order, [{"end": "succeed"}, {"end": "404"}])
    zerog.Worker(app, queues=["orders"]).run(burst=True)
    app.reconcile()
    zerog.Worker(app, queues=["orders"]).run(burst=True)
    assert sorted(calls) == sorted([(uuids[0], "succeeded", 200), (uuids[1], "failed", 404)])
    app.close()
