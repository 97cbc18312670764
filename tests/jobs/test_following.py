"""Following jobs from an event loop: each change once, one poll for all, and nothing once the last one has left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

import zerog
from zerog.exceptions import DatastoreUnavailable
from zerog.jobs import following
from zerog.testing import run_inline


class Idle(zerog.BaseJob):
    """Do nothing."""

    JOB_TYPE = "idle"

    def run(self) -> Any:
        return 200


class Other(zerog.BaseJob):
    """Do nothing else."""

    JOB_TYPE = "other"

    def run(self) -> Any:
        raise NotImplementedError


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[zerog.App]:
    monkeypatch.setattr(following, "PAUSE", 0.005)
    with zerog.App("memory://") as app:
        app.register(Idle, Other)
        yield app


def test_each_change_is_yielded_up_to_the_end(app: zerog.App) -> None:
    async def follow() -> None:
        job = app.submit(Idle)
        seen = []
        async with aclosing(app.follow(job.uuid)) as followed:
            async for progress in followed:
                seen.append((progress["status"], progress["completeness"]))
                if len(seen) < 3:
                    job.update_attrs(completeness=len(seen) / 4)
                elif len(seen) == 3:
                    app.cancel(job.uuid)
        assert seen == [("queued", 0.0), ("queued", 0.25), ("queued", 0.5), ("cancelled", 0.5)]

    asyncio.run(follow())


def test_a_job_that_has_ended_is_yielded_once(app: zerog.App) -> None:
    uuid = run_inline(app, app.submit(Idle).uuid).uuid

    async def follow() -> list[str]:
        return [progress["status"] async for progress in app.follow(uuid)]

    assert asyncio.run(follow()) == ["succeeded"]


def test_many_followers_cost_one_read(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is made before the first one, or after the last one."""
    reads: list[int] = []
    read = app.datastore.read_heads
    monkeypatch.setattr(app.datastore, "read_heads", lambda keys: reads.append(len(keys)) or read(keys))

    async def follow() -> None:
        uuids = [app.submit(Idle).uuid for _ in range(20)]
        assert reads == []
        waiting = [asyncio.create_task(app.wait_async(uuid, 30)) for uuid in uuids for _ in range(5)]
        while len(reads) < 3:
            await asyncio.sleep(0)
        assert max(reads) == 20
        for uuid in uuids:
            app.cancel(uuid)
        assert {job.status for job in await asyncio.gather(*waiting)} == {"cancelled"}
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(follow())


def test_wait_async_gives_the_job(app: zerog.App) -> None:
    async def wait() -> Any:
        job = app.submit(Idle)
        waiting = asyncio.create_task(app.wait_async(job.uuid, job_type=Idle))
        await asyncio.to_thread(run_inline, app, job.uuid)
        return await waiting

    job = asyncio.run(wait())
    assert (type(job), job.status) == (Idle, "succeeded")


def test_wait_async_times_out(app: zerog.App) -> None:
    with pytest.raises(TimeoutError, match=r"is still queued after 0\.05 s; it continues"):
        asyncio.run(app.wait_async(app.submit(Idle).uuid, 0.05))


def test_what_cant_be_followed_is_named(app: zerog.App) -> None:
    for uuid, job_type, error in (
        ("x", None, zerog.InvalidUuid),
        ("0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f", None, zerog.JobNotFound),
        (app.submit(Idle).uuid, Other, zerog.JobNotFound),
    ):
        with pytest.raises(error):
            asyncio.run(app.wait_async(uuid, 30, job_type))


def test_a_removed_job_ends_its_followers_alone(app: zerog.App) -> None:
    async def follow() -> None:
        gone, stays = app.submit(Idle), app.submit(Idle)
        waiting = [asyncio.create_task(app.wait_async(job.uuid, 30)) for job in (gone, stays)]
        async with aclosing(app.follow(gone.uuid)) as followed:
            await anext(followed)
            app.datastore.delete(f"zerog_job_{gone.uuid}")
            with pytest.raises(zerog.JobNotFound):
                await anext(followed)
        app.cancel(stays.uuid)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], zerog.JobNotFound)
        assert results[1].status == "cancelled"

    asyncio.run(follow())


def test_an_outage_is_waited_for(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    read, failures = app.datastore.read_heads, [DatastoreUnavailable("down"), OSError("down")]

    def fail(keys: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(keys)

    monkeypatch.setattr(app.datastore, "read_heads", fail)
    uuid = run_inline(app, app.submit(Idle).uuid).uuid
    assert asyncio.run(app.wait_async(uuid, 30)).status == "succeeded"
    assert failures == []


def test_an_error_of_the_code_is_raised(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(keys: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(app.datastore, "read_heads", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        asyncio.run(app.wait_async(app.submit(Idle).uuid, 30))
