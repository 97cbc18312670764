"""``crash_matrix`` passes good jobs and finds jobs that a crash breaks."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import zerog
from tests.processes import stat_of
from zerog.testing.crash_matrix import CrashReport, crash_matrix


class Adding(zerog.BaseJob):
    """Adds up the lines of a file with a checkpoint after each, as in the documentation."""

    JOB_TYPE = "adding"

    class Params(Schema):
        path = fields.String(required=True)

    class State(Schema):
        done = fields.Integer(load_default=0)
        total = fields.Integer(load_default=0)

    path: str
    done: int
    total: int

    def run(self) -> Any:
        numbers = [int(line) for line in Path(self.path).read_text().split()]
        for number in numbers[self.done :]:
            self.update_attrs(done=self.done + 1, total=self.total + number)
        return {"total": self.total}


class Skipping(Adding):
    """Marks a line as done before it is added."""

    JOB_TYPE = "skipping"

    def run(self) -> Any:
        numbers = [int(line) for line in Path(self.path).read_text().split()]
        for number in numbers[self.done :]:
            self.update_attrs(done=self.done + 1)
            self.update_attrs(total=self.total + number)
        return {"total": self.total}


class Mailing(zerog.BaseJob):
    """Sends one mail for each address, and remembers how many: a crash in between sends one of them twice."""

    JOB_TYPE = "mailing"

    class Params(Schema):
        outbox = fields.String(required=True)

    class State(Schema):
        sent = fields.Integer(load_default=0)

    outbox: str
    sent: int

    def run(self) -> Any:
        for number in range(self.sent, 3):
            self.send(Path(self.outbox), number)
            self.update_attrs(sent=number + 1)
        return {"sent": self.sent}

    def send(self, outbox: Path, number: int) -> None:
        with (outbox / "mails").open("a") as mails:
            mails.write(f"{number}\n")


class CarefulMailing(Mailing):
    """Gives each mail a name, so that sending it again changes nothing."""

    JOB_TYPE = "careful_mailing"

    def send(self, outbox: Path, number: int) -> None:
        (outbox / str(number)).write_text("a mail")


class Stubborn(zerog.BaseJob):
    """Fails twice, requests a delay, then ends."""

    JOB_TYPE = "stubborn"

    def run(self) -> Any:
        if self.errorCount < 2:
            raise ValueError("not yet")
        if self.continues < 1:
            return zerog.NO_RESULT, 3_600
        return {"errors": self.errorCount}


class Suicidal(zerog.BaseJob):
    JOB_TYPE = "suicidal"

    def run(self) -> Any:
        os._exit(7)


class Endless(zerog.BaseJob):
    JOB_TYPE = "endless"

    def run(self) -> Any:
        while True:
            pass


@pytest.fixture
def matrix(tmp_path: Path) -> Any:
    return partial(crash_matrix, tmp_path / "matrix")


@pytest.fixture
def numbers(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "numbers"
    path.write_text("1 2 4 8")
    return {"path": str(path)}


def mailed(outbox: Path) -> dict[str, str]:
    return {"outbox": str(outbox)}


def sent_once(job: Mailing) -> bool:
    return (Path(job.outbox) / "mails").read_text() == "0\n1\n2\n"


def test_a_good_job_passes(matrix: Any, numbers: dict[str, str]) -> None:
    """It is killed before and after each of its writes, of its claim and of its end."""
    report: CrashReport = matrix(Adding, numbers)
    writes = [f"run.{what} #{number}" for number in range(1, 5) for what in ("write", "written")]
    assert report.killed == ["claim.write #1", "claim.written #1", *writes, "settle.write #1", "settle.written #1"]
    assert report.missed == []


@pytest.mark.wide
def test_a_checkpoint_that_skips_work_is_found(matrix: Any, numbers: dict[str, str]) -> None:
    """The message names each point after which the result is another, and shows the document."""
    with pytest.raises(AssertionError) as caught:
        matrix(Skipping, numbers)
    text = str(caught.value)
    assert "after a crash at run.written #1: output is {'total': 14}, without the crash it was {'total': 15}" in text
    assert "after a crash at run.write #2: output is {'total': 14}" in text
    assert "run.write #1:" not in text
    assert "8 of 20 crash points" in text
    assert '"jobType": "skipping"' in text


@pytest.mark.wide
def test_a_side_effect_done_twice_is_found(matrix: Any) -> None:
    """The result is right every time; what the caller checks isn't."""
    matrix(Mailing, mailed)
    with pytest.raises(AssertionError) as caught:
        matrix(Mailing, mailed, check=sent_once)
    text = str(caught.value)
    assert "after a crash at run.write #1: check returned False" in text
    assert "run.written #1:" not in text
    assert "3 of 10 crash points" in text


@pytest.mark.wide
def test_a_side_effect_that_may_be_repeated_passes(matrix: Any) -> None:
    """Each run has its own directory, so that nothing is left over from the one before."""

    def check(job: CarefulMailing) -> None:
        assert sorted(os.listdir(job.outbox)) == ["0", "1", "2"]

    assert len(matrix(CarefulMailing, mailed, check=check).killed) == 10


def test_a_check_that_fails_without_a_crash_is_reported_as_such(matrix: Any, numbers: dict[str, str]) -> None:
    """A wrong check isn't blamed on a crash."""

    def check(job: Adding) -> None:
        assert job.total == 16, "not sixteen"

    with pytest.raises(AssertionError, match=r"in the first run, without a crash: check failed: not sixteen"):
        matrix(Adding, numbers, check=check)


@pytest.mark.wide
def test_the_caller_decides_what_is_the_same(matrix: Any, numbers: dict[str, str]) -> None:
    """The caller's own comparison replaces the usual one, both ways."""
    assert len(matrix(Skipping, numbers, same=lambda job, first: job.resultCode == first.resultCode).killed) == 20
    with pytest.raises(AssertionError, match="same returned False"):
        matrix(Adding, numbers, same=lambda job, first: job.uuid == first.uuid)


@pytest.mark.wide
def test_a_job_of_several_runs_with_delays(matrix: Any) -> None:
    """Errors, backoff and an hour's delay cost no time, and no run is charged for a crash in another."""
    report: CrashReport = matrix(Stubborn)
    assert [name for name in report.killed if name.startswith("settle.written")] == [
        f"settle.written #{number}" for number in range(1, 5)
    ]


def test_a_job_that_ends_its_process_by_itself_is_named(matrix: Any) -> None:
    """It already fails without any crash by the matrix."""
    with pytest.raises(AssertionError, match="without a crash: the process that ran the job ended with exit code 7"):
        matrix(Suicidal)


def children() -> set[str]:
    """The processes whose parent is this one; a server that other tests share may be among them."""
    return {name for name in os.listdir("/proc") if name.isdigit() and stat_of(int(name))[1:2] == [str(os.getpid())]}


def test_a_job_without_an_end_is_stopped(matrix: Any) -> None:
    """The process is killed when its time is over, and nothing of it stays."""
    before = children()
    with pytest.raises(AssertionError, match=r"did not end within 0\.5 s"):
        matrix(Endless, timeout=0.5)
    assert children() <= before


def test_wrong_parameters_are_the_callers_error(matrix: Any) -> None:
    """Nothing is run with them."""
    with pytest.raises(ValidationError, match="pth"):
        matrix(Adding, {"pth": "x"})
