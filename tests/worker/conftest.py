"""Fixtures for tests that run over every executor, with plain and with asynchronous code."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.worker.worker_fixtures import EXECUTORS, Bed, as_async

OF_EACH = {("thread", False), ("async", True)}
"""What the default run has: plain and asynchronous code, each where it runs at home; processes take long to start."""

KINDS = [
    pytest.param(kind, marks=() if kind in OF_EACH else pytest.mark.wide)
    for kind in itertools.product(EXECUTORS, [False, True])
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}: {'async def' if kind[1] else 'def'}")
def kind(request: pytest.FixtureRequest) -> tuple[str, bool]:
    executor, is_async = request.param
    return executor, is_async


@pytest.fixture
def bed(kind: tuple[str, bool], tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path, kind[0])
    yield made
    made.app.close()


@pytest.fixture
def form(kind: tuple[str, bool]) -> Any:
    """Make a function plain, or a coroutine function, as this case requires."""
    return as_async if kind[1] else lambda function: function


@pytest.fixture
def surrounding(kind: tuple[str, bool]) -> Any:
    """Make middleware that notes when it is entered and left."""

    def made(name: str) -> Any:
        @contextmanager
        def plain(job: Any) -> Iterator[None]:
            job.record_event(f"{name} in")
            try:
                yield
            except BaseException as error:
                job.record_event(f"{name} sees {type(error).__name__}")
                raise
            else:
                job.record_event(f"{name} out")

        @asynccontextmanager
        async def awaited(job: Any) -> AsyncIterator[None]:
            await asyncio.sleep(0)
            with plain(job):
                yield

        return awaited if kind[1] else plain

    return made
