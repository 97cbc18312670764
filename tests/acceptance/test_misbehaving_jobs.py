"""Jobs that harm their process: they end with a reason that names it, and the next job notices nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers


@pytest.fixture
def w(tmp_path: Path) -> Iterator[Workers]:
    """One worker with one child process, not started yet."""
    with Workers(tmp_path, "--executor", "process", module="tests.acceptance.misbehaving_jobs") as workers:
        yield workers


@pytest.fixture(params=["thread", "process", "async"])
def executor(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def either(executor: str, tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path, "--executor", executor, module="tests.acceptance.misbehaving_jobs") as workers:
        workers.start()
        yield workers


@pytest.fixture
def form(executor: str) -> str:
    """The type of the odd job for this executor."""
    return "async_odd" if executor == "async" else "odd"


def odd(w: Workers, how: str, marks: Path | str = ".", form: str = "odd") -> Any:
    return w.app.submit(form, {"how": how, "marks": str(marks)}).uuid


def look(w: Workers) -> dict[str, Any]:
    job = w.app.wait(w.app.submit("look").uuid, 20)
    assert (job.status, job.attempts, job.crashes) == ("succeeded", 1, 0)
    output: dict[str, Any] = job.output
    return output


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("exit", "exit code 0"),
        ("descriptors", "died: exit code 1"),
        ("shutdown", "closed its connection to the worker"),
        pytest.param(
            "stack", "SIGSEGV", marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="the interpreter counts")
        ),
    ],
)
@pytest.mark.wide
def test_a_job_that_ends_its_process_ends_itself(how: str, named: str, w: Workers) -> None:
    """Three runs, each with the way it died, then a failure with the reason for no fourth; no other job is hurt."""
    uuid = odd(w, how)
    w.start()
    job = w.app.wait(uuid, 30)
    assert (job.status, job.resultCode, job.crashes) == ("failed", 500, 3)
    assert [named in error.msg for error in job.errors[:3]] == [True] * 3, [error.msg for error in job.errors]
    assert "MAX_CRASHES" in job.errors[3].msg
    look(w)


def test_a_job_that_needs_more_memory_than_there_is(w: Workers) -> None:
    """Three runs that each report it; the limit that it had set is gone with its process."""
    uuid = odd(w, "memory")
    w.start()
    before = look(w)["memory"]
    job = w.app.wait(uuid, 30)
    assert (job.status, job.errorCount) == ("failed", 3)
    assert all("MemoryError" in error.msg for error in job.errors)
    assert look(w)["memory"] == before


@pytest.mark.wide
def test_an_exception_that_cant_be_shown_is_recorded(either: Workers, form: str) -> None:
    job = either.app.wait(odd(either, "str", form=form), 30)
    assert (job.status, job.errorCount, job.crashes) == ("failed", 3, 0)
    assert all(error.msg.startswith("Mute: <str() of it raised RuntimeError>") for error in job.errors)


@pytest.mark.parametrize(
    ("how", "recorded"),
    [
        ("directory", "a changed working directory"),
        ("umask", "a changed umask"),
        ("locale", "a changed locale"),
        ("handler", "a changed signal handlers"),
        ("alarm", "a changed alarm"),
        ("stdout", "a changed standard files"),
        ("endless_thread", "a changed threads"),
        ("stack_limit", "a changed recursion limit"),
    ],
)
@pytest.mark.wide
def test_the_next_job_finds_its_process_as_it_should_be(how: str, recorded: str, w: Workers, tmp_path: Path) -> None:
    """What a job changed about its process ends with that process; a job that changed nothing leaves it in use."""
    w.start()
    before = look(w)
    assert look(w) == before
    assert w.app.wait(odd(w, how, tmp_path), 20).status == "succeeded"
    after = look(w)
    assert after.pop("pid") != before.pop("pid")
    assert after == before
    assert recorded.replace("a changed ", "") in w.log.read_text()


@pytest.mark.parametrize("how", ["thread", "daemon"])
@pytest.mark.wide
def test_a_thread_that_outlives_its_run_can_write_nothing(how: str, either: Workers, form: str, tmp_path: Path) -> None:
    uuid = odd(either, how, tmp_path, form)
    assert either.app.wait(uuid, 20).status == "succeeded"
    ended = either.app.datastore.read(f"zerog_job_{uuid}")
    if how == "daemon":  # the other one's process may end before it can record it
        either.until(lambda: (tmp_path / how).exists() and (tmp_path / how).read_text() == "ClaimLost", 10)
    look(either)
    assert either.app.datastore.read(f"zerog_job_{uuid}") == ended


def test_a_forked_copy_neither_writes_nor_settles(either: Workers, form: str, tmp_path: Path) -> None:
    """The copy is refused at its first write, returns from run() like the original, and is gone then."""
    uuid = odd(either, "fork", tmp_path, form)
    job = either.app.wait(uuid, 20)
    assert (job.status, job.output, job.attempts) == ("succeeded", {"who": "original"}, 1)
    assert [event["msg"] for event in job.events] == ["the original"]
    assert (tmp_path / "copy").read_text() == "ClaimLost"
    look(either)


def test_a_child_that_holds_too_much_memory_is_replaced(tmp_path: Path) -> None:
    """Each job keeps 40 MiB: with a limit of 100 MiB no process runs more than three of them, and one may run two."""
    options = ("--executor", "process", "--max-memory", "100")
    with Workers(tmp_path, *options, module="tests.acceptance.misbehaving_jobs") as w:
        uuids = [w.app.submit("hoard", {"mib": 40}).uuid for _ in range(6)]
        w.start()
        pids = [w.app.wait(uuid, 20).output["pid"] for uuid in uuids]
        assert 1 < max(pids.count(pid) for pid in pids) <= 3
        assert "is replaced: it holds" in w.log.read_text()


def test_a_child_is_replaced_after_its_share_of_jobs(tmp_path: Path) -> None:
    options = ("--executor", "process", "--max-jobs-per-child", "2")
    with Workers(tmp_path, *options, module="tests.acceptance.misbehaving_jobs") as w:
        uuids = [w.app.submit("look").uuid for _ in range(6)]
        w.start()
        pids = [w.app.wait(uuid, 20).output["pid"] for uuid in uuids]
        assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2, 2]
