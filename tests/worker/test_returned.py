"""What ``run()`` returned, as ``after_run`` and middleware see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.worker.builders import raising
from tests.worker.worker_fixtures import Bed, recorded
from zerog.exceptions import InvalidJobClass
from zerog.testing.inline import drain


def note_returned(self: Any, *_error: Any) -> None:
    self.record_event(repr(self.returned))


@pytest.mark.parametrize("value", [{"rows": 3}, 204, (zerog.NO_RESULT, 60), None, "no result"], ids=repr)
def test_after_run_sees_what_run_returned(bed: Bed, form: Any, value: Any) -> None:
    info = bed.run(
        form(lambda self: value), before_run=form(note_returned), after_run=form(note_returned), MAX_ERRORS=1
    )
    assert recorded(info) == ["None", repr(value)]


def test_middleware_sees_it_or_the_error(bed: Bed, form: Any, kind: tuple[str, bool]) -> None:
    @contextmanager
    def watched(job: Any) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            job.record_event(f"raised {error}, {job.returned}")
            raise
        job.record_event(f"returned {job.returned}")

    @asynccontextmanager
    async def watched_async(job: Any) -> AsyncIterator[None]:
        with watched(job):
            yield

    bed.app.middleware(watched_async if kind[1] else watched)
    assert recorded(bed.run(form(lambda self: {"rows": 3}))) == ["returned {'rows': 3}"]
    info = bed.run(form(raising(ValueError("x"))), after_run=form(note_returned), MAX_ERRORS=1)
    assert recorded(info) == ["None", "raised x, None"]


def test_each_run_has_its_own(bed: Bed, form: Any) -> None:
    info = bed.run(
        form(lambda self: zerog.NO_RESULT if self.attempts == 1 else 200),
        before_run=form(note_returned),
        after_run=form(note_returned),
    )
    assert recorded(info) == ["None", "-1", "None", "200"]
    assert bed.app.get_job(info["uuid"]).returned is None


def test_middleware_surrounds_the_job_of_on_end(tmp_path: Path) -> None:
    bed = Bed(tmp_path)
    seen: list[tuple[str, Any]] = []

    @bed.app.middleware
    @contextmanager
    def watched(job: Any) -> Iterator[None]:
        yield
        seen.append((job.jobType, job.returned))

    bed.submit(lambda self: 204, on_end=lambda self, status: {"mailed": status})
    drain(bed.app)
    assert seen == [("made", 204), ("made.on_end", {"mailed": "succeeded"})]
    bed.app.close()


def test_no_field_may_have_the_name() -> None:
    @zerog.App("memory://").job
    def fine(job: Any) -> None: ...

    with pytest.raises(InvalidJobClass, match="returned"):

        @zerog.App("memory://").job
        def made(job: Any, returned: int) -> None: ...
