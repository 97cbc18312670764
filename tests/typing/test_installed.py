"""Type checkers and the installed package, in a folder that isn't the project's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.typing.test_typing import HERE, mypy

ROOT = HERE.parent.parent
PROGRAM = """
from typing import Any, assert_type

import zerog
from marshmallow import fields
from zerog.jobs.base import BaseJob, BaseJobSchema


class CountSchema(BaseJobSchema):
    path = fields.String(required=True)


class WordCount(BaseJob):
    JOB_TYPE = "word_count"
    SCHEMA = CountSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path: str = kwargs["path"]

    def run(self) -> int:
        self.update_attrs(completeness=0.5)
        self.record_event(self.path)
        return 200


app = zerog.App("memory://")
app.register(WordCount)
job = app.submit(WordCount, {"path": "a.txt"})
assert_type(job, WordCount)
assert_type(app.progress(job.uuid)["completeness"], float)
"""
"""In the documented style."""
AGAIN = "an environment that was made before 30 November 2026 needs pip install -e '.[test]' again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_mypy_finds_it_and_the_plugin(folder: Path) -> None:
    checked = mypy(folder / "program.py", folder, "zerog.mypy_plugin", cwd=folder)
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}({AGAIN})"


def pyright(folder: Path) -> list[str]:
    """Return pyright's errors in its standard mode, as ``file: rule``."""
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    found = json.loads(ended.stdout)["generalDiagnostics"]
    return [f"{Path(one['file']).name}: {one['rule']}" for one in found if one["severity"] == "error"]


@pytest.mark.wide
def test_pyright_accepts_the_examples_and_the_public_api(folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(HERE / "public_api.py", folder)
    (folder / "wrong.py").write_text("import zerog\n\nuuid: int = zerog.App().submit('left').uuid\n")
    assert pyright(folder) == ["wrong.py: reportAssignmentType"], AGAIN
