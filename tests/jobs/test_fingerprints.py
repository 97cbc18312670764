"""Fingerprints of errors: the same for failures at one place of a job's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.records.fingerprints import fingerprint


class Fails(zerog.BaseJob):
    """Fails in the way that ``how`` names."""

    JOB_TYPE = "fails"
    MAX_ERRORS = 1

    class Params(Schema):
        how = fields.String(required=True)
        text = fields.String(load_default="x")

    how: str
    text: str

    def run(self) -> Any:
        getattr(self, self.how)()

    def raises(self) -> None:
        raise ValueError(self.text)

    def raises_another(self) -> None:
        raise KeyError(self.text)

    def raises_in_a_library(self) -> None:
        json.loads("{" + self.text)

    def finishes(self) -> None:
        self.raise_error_finish(404, self.text)

    def finishes_elsewhere(self) -> None:
        self.raise_error_finish(404, self.text)

    def records(self) -> None:
        self.record_error(500, self.text)
        self.record_errors(500, [self.text, self.text])

    def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        super().record_error(errorCode, msg, exception)


class Alike(Fails):
    JOB_TYPE = "alike"


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Fails, Alike)
    return app


def errors_of(app: zerog.App, how: str, text: str = "x", job_type: str = "fails") -> list[dict[str, Any]]:
    uuid = app.submit(job_type, {"how": how, "text": text}).uuid
    zerog.Worker(app).run(burst=True)
    info = app.info(uuid)
    last = info["lastError"]
    assert last is not None
    assert last["fingerprint"] == info["errors"][-1]["fingerprint"]
    return [dict(entry) for entry in info["errors"]]


def test_the_message_does_not_count(app: zerog.App) -> None:
    [one], [other] = errors_of(app, "raises"), errors_of(app, "raises", "y")
    assert one["fingerprint"] == other["fingerprint"]
    assert one["where"] == f"{__name__}.Fails.raises: raise ValueError(self.text)"
    assert len(one["fingerprint"]) == 16


def test_type_of_job_class_of_exception_and_function_count(app: zerog.App) -> None:
    ways = ["raises", "raises_another", "raises_in_a_library", "finishes", "finishes_elsewhere"]
    prints = [errors_of(app, how)[0]["fingerprint"] for how in ways]
    prints.append(errors_of(app, "raises", job_type="alike")[0]["fingerprint"])
    assert len(set(prints)) == len(prints)


def test_a_library_s_frames_do_not_count(app: zerog.App) -> None:
    [error] = errors_of(app, "raises_in_a_library")
    assert error["where"] == f'{__name__}.Fails.raises_in_a_library: json.loads("{{" + self.text)'


def test_an_error_without_an_exception_is_of_its_caller(app: zerog.App) -> None:
    """Also if the class overrides the method that records it."""
    app.submit("fails", {"how": "records"})
    zerog.Worker(app).run(burst=True)
    one, *others = app.info(next(app.jobs())["uuid"])["errors"]
    assert one["where"] == f"{__name__}.Fails.records: self.record_error(500, self.text)"
    assert [error["where"] for error in others] == [
        f"{__name__}.Fails.records: self.record_errors(500, [self.text, self.text])"
    ] * 2


CODE = """
import zerog

class Moved(zerog.BaseJob):
    JOB_TYPE = "moved"
    MAX_ERRORS = 1
    def run(self):
        {0}raise {1}ValueError("no")
"""


def test_the_number_and_the_spaces_of_a_line_do_not_count(tmp_path: Path) -> None:
    """The same failure after an edit above it is the same; another text of the line is another failure."""
    prints = []
    for name, before, between in (("a", "", ""), ("b", "x = 1\n\n        ", "  "), ("c", "", "(")):
        path = tmp_path / f"{name}.py"
        text = CODE.format(before, between)
        path.write_text(text.replace('("no")', '("no"))') if between == "(" else text)
        scope: dict[str, Any] = {"__name__": "shop"}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        app = zerog.App("memory://")
        app.register(scope["Moved"])
        job = app.submit("moved", {})
        zerog.Worker(app).run(burst=True)
        [error] = app.info(job.uuid)["errors"]
        assert error["where"].startswith("shop.Moved.run: raise ")
        prints.append(error["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


def test_jobs_are_found_by_it(app: zerog.App) -> None:
    [error] = errors_of(app, "raises")
    errors_of(app, "raises_another")
    assert [job["errorCount"] for job in app.jobs(error=error["fingerprint"])] == [1]
    assert app.count(error=error["fingerprint"]) == (1, False)


def test_it_is_stable() -> None:
    """It is stored, so another version has to compute the same."""
    assert fingerprint("export", "ValueError", "shop.Export.run", "raise ValueError( 1 )") == "0cc0c7ba4e75000e"
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
