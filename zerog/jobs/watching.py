"""Watch many values that can only be polled: one poll for all listeners of an event loop.

The poll starts with the first listener and ends with the last one, so that nothing runs without listeners.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from zerog.exceptions import DatastoreError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

log = logging.getLogger("zerog")

LONGEST = 5.0
"""Seconds between two polls while they fail."""


class _Listener(Generic[V]):
    """Waits for the next value. Values that it is too slow for are replaced by later ones."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._latest: list[V | Exception] = []

    def put(self, value: V | Exception) -> None:
        if self._latest != [value]:
            self._latest = [value]
            self._changed.set()

    async def next(self) -> V:
        await self._changed.wait()
        self._changed.clear()
        value = self._latest[0]
        if isinstance(value, Exception):
            raise value
        return value


class Watcher(Generic[K, V]):
    """Polls values for the listeners of one event loop."""

    def __init__(self, poll: Callable[[Collection[K]], Mapping[K, V | Exception]], pause: float) -> None:
        """``poll`` is called in a thread, with all keys; an exception in place of a value is raised to listeners.

        ``pause``: seconds between two polls.
        """
        self._poll, self._pause = poll, pause
        self._listeners: dict[K, set[_Listener[V]]] = {}
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_polling(self) -> bool:
        """True while there are listeners."""
        return self._task is not None

    async def values(self, key: K) -> AsyncGenerator[V]:
        """Yield the value now, then each other one that a poll finds. Close the iterator to end that."""
        listener = _Listener[V]()
        self._listeners.setdefault(key, set()).add(listener)
        self._came.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            while True:
                yield await listener.next()
        finally:
            self._leave(key, listener)

    def _leave(self, key: K, listener: _Listener[V]) -> None:
        there = self._listeners[key]
        there.discard(listener)
        if not there:
            del self._listeners[key]
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        pause = self._pause
        while True:
            self._came.clear()
            keys = list(self._listeners)
            values: Mapping[K, V | Exception]
            try:
                values = await asyncio.to_thread(self._poll, keys)
            except (DatastoreError, OSError) as error:  # listeners wait until it answers again
                pause = min(pause * 2, LONGEST)
                log.warning("jobs can't be watched, trying again in %g s: %s", pause, error)
                await asyncio.sleep(pause)
                continue
            except Exception as error:
                values = dict.fromkeys(keys, error)
            pause = self._pause
            for key in keys:
                for listener in self._listeners.get(key, ()):
                    listener.put(values[key])
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), self._pause)
