"""Errors inside a job that is a task of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import zerog
from tests.worker.blocking_job import Gate, add, burst, document
from tests.worker.builders import Running
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import Cancelled, ClaimLost


@pytest.fixture
def store() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def app(store: Gate) -> zerog.App:
    return zerog.App(datastore=store, queue=MemoryQueue())


async def failing(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (ValueError("deep"), "failed", 500, "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"),
        (SystemExit(3), "failed", 500, "SystemExit: 3"),
        (KeyboardInterrupt(), "failed", 500, "KeyboardInterrupt"),
        (zerog.ErrorFinish("gone", code=404), "failed", 404, "ErrorFinish: gone"),
        (Cancelled("stop"), "cancelled", 410, None),
    ],
)
def test_what_a_task_of_a_group_raises_ends_the_run(
    app: zerog.App, error: BaseException, status: str, code: int, message: str | None
) -> None:
    """Python lets SystemExit through its event loop; the loop and the other jobs run on."""

    async def run(job: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing(error))
            group.create_task(asyncio.sleep(60))

    async def fine(job: Any) -> Any:
        await asyncio.sleep(0.01)
        return 204

    bad = add(app, run, "bad", MAX_ERRORS=1)
    good = add(app, fine, "good")
    burst(app, concurrency=2)
    head = document(app, bad)
    assert (head["status"], head["resultCode"]) == (status, code)
    assert [entry["msg"] for entry in head["errors"]] == ([message] if message else [])
    if isinstance(error, ValueError):
        assert "ValueError: deep" in head["errors"][0]["traceback"]
    assert app.progress(good)["result"] == 204


def test_a_task_that_is_never_awaited_can_not_end_the_loop(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    async def run(job: Any) -> Any:
        job.left = asyncio.create_task(failing(SystemExit(1)))
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        job.left.exception()
        return 200

    add(app, run)
    app.submit_many("made", [{}] * 3)
    assert burst(app).succeeded == 4
    assert "the event loop, which continues" in caplog.text


def test_what_a_job_leaves_in_the_loop_ends_with_the_worker_and_writes_nothing(app: zerog.App) -> None:
    ended: list[BaseException] = []

    async def left_behind(job: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(error)
            try:
                job.record_event("too late")
            except ClaimLost as lost:
                ended.append(lost)
            raise

    async def run(job: Any) -> Any:
        job.left = asyncio.create_task(left_behind(job))
        await asyncio.sleep(0)

    uuid = add(app, run)
    assert burst(app).succeeded == 1
    assert [type(error) for error in ended] == [asyncio.CancelledError, ClaimLost]
    assert document(app, uuid)["events"] == []


def test_a_job_that_cancels_itself_is_an_error_of_the_job(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by myself")
        if job.attempts == 1:
            await asyncio.sleep(60)
        return 200  # cancelled, but it never awaits again

    uuid = add(app, run, continue_running=lambda self: zerog.NO_RESULT)
    with Running(app, executor="async"):
        job = app.wait(uuid, 20)
    assert (job.status, job.attempts, job.errorCount) == ("succeeded", 2, 1)
    assert job.errors[0].msg == "CancelledError: by myself"


def test_a_timeout_inside_a_job_is_an_error_of_the_job(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)

    head = document(app, (add(app, run, MAX_ERRORS=1), burst(app))[0])
    assert (head["status"], head["errorCount"], head["errors"][0]["msg"]) == ("failed", 1, "TimeoutError")
