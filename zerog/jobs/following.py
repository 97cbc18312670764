"""``JobFollower``: the part of ``App`` that follows jobs from an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from zerog.exceptions import JobNotFound
from zerog.jobs.submit_options import check_delay
from zerog.records.job import TERMINAL, Document, check_shown, check_uuid, make_key
from zerog.support.clock import Clock

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from zerog.fleet.fleet import Fleet
    from zerog.jobs.answers import Progress
    from zerog.jobs.base import BaseJob
    from zerog.jobs.watching import Watcher

PAUSE = 0.5
"""Seconds between two polls of all jobs that are followed."""


class JobFollower:
    """Follows jobs without a thread for each: one poll reads all of those that are followed in an event loop."""

    clock: Clock
    registry: Any
    fleet: Fleet

    @property
    def datastore(self) -> Any:
        """The datastore."""
        raise NotImplementedError

    async def follow(self, uuid: str) -> AsyncGenerator[Progress]:
        """Yield a job's ``progress`` now, after each change that a poll finds, and last at its end.

        Polls twice a second, whatever the number of followers. While the datastore can't be reached it waits. Raises
        InvalidUuid, JobNotFound, also if the job is removed, and CorruptDocument.
        """
        async with aclosing(self._watcher().values(check_uuid(uuid))) as values:
            async for progress in values:
                yield progress
                if progress["status"] in TERMINAL:
                    return

    async def wait_async(
        self, uuid: str, timeout: float | None = None, job_type: type[BaseJob] | str | None = None
    ) -> Any:
        """Wait for the end of a job as ``App.wait`` does, without a thread; returns it, newly loaded.

        Raises TimeoutError after ``timeout`` seconds, and what ``App.wait`` raises.
        """
        import asyncio

        progress: Progress | None = None
        try:
            async with asyncio.timeout(None if timeout is None else check_delay(timeout, "timeout")):
                async with aclosing(self.follow(uuid)) as followed:
                    async for progress in followed:
                        self.registry.expect(uuid, progress["jobType"], job_type)
        except TimeoutError:
            status = "unknown" if progress is None else progress["status"]
            raise TimeoutError(f"job {uuid} is still {status} after {timeout} s; it continues") from None
        return await asyncio.to_thread(self.get_job, uuid, job_type)

    def progress_of(self, head: Document) -> Progress:
        """Return the ``progress`` of a job whose head was read before."""
        shown: Progress = self.registry.progress(head, self.clock.now(), self.fleet.past.seconds)
        return shown

    def get_job(self, uuid: str, job_type: Any = None) -> Any:
        """Return the job object of a stored document."""
        raise NotImplementedError

    @cached_property
    def _watchers(self) -> WeakKeyDictionary[AbstractEventLoop, Watcher[str, Progress]]:
        return WeakKeyDictionary()

    def _watcher(self) -> Watcher[str, Progress]:
        """Return the watcher of the running event loop."""
        import asyncio

        from zerog.jobs.watching import Watcher

        return self._watchers.setdefault(asyncio.get_running_loop(), Watcher(self._read_all, PAUSE))

    def _read_all(self, uuids: Collection[str]) -> Mapping[str, Progress | Exception]:
        keys = {uuid: make_key(uuid) for uuid in uuids}
        found, unreadable = self.datastore.read_heads(list(keys.values()))
        answers: dict[str, Progress | Exception] = {}
        for uuid, key in keys.items():
            try:
                if key in unreadable:
                    raise unreadable[key]
                if key not in found:
                    raise JobNotFound(f"there is no job {uuid}")
                check_shown(key, found[key])
                answers[uuid] = self.progress_of(found[key])
            except Exception as error:  # of this job alone
                answers[uuid] = error
        return answers
