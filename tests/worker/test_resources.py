"""Resources that the jobs of a process share, in workers of each executor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import until
from tests.worker.worker_fixtures import EXECUTORS, Bed
from zerog import backoff


@pytest.fixture(params=EXECUTORS)
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path, request.param)
    yield made
    made.app.close()


def test_the_jobs_of_a_process_share_it_and_it_is_closed_when_the_worker_ends(bed: Bed, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def note(text: str) -> None:
        with notes.open("a") as file:
            file.write(f"{text} {os.getpid()}\n")

    def connection(name: str) -> Any:
        def factory() -> Iterator[int]:
            note(f"open {name}")
            yield os.getpid()
            note(f"close {name}")

        return factory

    bed.app.resource("db", connection("db"))
    bed.app.resource("cache", connection("cache"))
    assert bed.app.resources.db == os.getpid()  # of this process, which no child may use

    def run(self: Any) -> dict[str, Any]:
        return {"same": {self.resources.db, self.resources.cache, os.getpid()} == {os.getpid()}}

    uuids = [bed.submit(run), *(bed.app.submit("made").uuid for _ in range(5))]
    bed.work()
    assert [bed.app.get_job(uuid).output for uuid in uuids] == [{"same": True}] * 6
    lines = notes.read_text().split("\n")[:-1]
    own = [
        line.rsplit(" ", 1)[0]
        for line in lines
        if (int(line.split()[-1]) != os.getpid()) == (bed.executor == "process")
    ]
    assert own == ["open db", "open cache", "close cache", "close db"]


def test_an_error_of_a_factory_is_an_error_of_the_job_that_names_the_resource(bed: Bed) -> None:
    def factory() -> Any:
        raise ConnectionError("no route")

    bed.app.resource("db", factory)
    info = bed.run(lambda self: self.resources.db, BACKOFF=backoff.none(), MAX_ERRORS=2)
    assert (info["status"], info["errorCount"]) == ("failed", 2)
    for error in info["errors"]:
        assert error["msg"] == "ConnectionError: no route (while opening the resource 'db')"
        assert error["type"] == "ConnectionError"


def test_finish_on_matches_the_factory_s_own_exception(bed: Bed) -> None:
    def factory() -> Any:
        raise PermissionError("wrong password")

    bed.app.resource("db", factory)
    info = bed.run(lambda self: self.resources.db, FINISH_ON=(PermissionError,))
    assert (info["status"], info["attempts"]) == ("failed", 1)


def test_an_undeclared_name_is_an_error_of_the_job(bed: Bed) -> None:
    info = bed.run(lambda self: self.resources.db, MAX_ERRORS=1)
    assert "there is no resource 'db'" in info["errors"][0]["msg"]


def test_hooks_have_them_too(bed: Bed) -> None:
    bed.app.resource("db", lambda: "connected")
    info = bed.run(lambda self: None, before_run=lambda self: self.record_event(self.resources.db))
    assert info["events"][0]["msg"] == "connected"


def test_a_child_process_that_is_replaced_closes_its_own(tmp_path: Path) -> None:
    bed = Bed(tmp_path, "process")
    notes = tmp_path / "notes"
    notes.touch()

    def factory() -> Iterator[None]:
        yield
        with notes.open("a") as file:
            file.write("closed\n")

    bed.app.resource("db", factory)
    bed.submit(lambda self: self.resources.db)
    bed.app.submit_many("made", [{}] * 2)
    bed.work(max_jobs_per_child=1)
    until(lambda: notes.read_text() == "closed\n" * 3)
    bed.app.close()
