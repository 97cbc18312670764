"""The pytest plugin in separate runs of pytest."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

TEST = '''
import zerog


class Fine(zerog.BaseJob):
    JOB_TYPE = "fine"

    def run(self):
        return {"n": 1}


class Forgetful(zerog.BaseJob):
    """Has another result when it is repeated."""

    JOB_TYPE = "forgetful"

    def run(self):
        return {"attempts": self.attempts}


def test_fine(crash_matrix):
    assert len(crash_matrix(Fine).killed) == 4


def test_forgetful(crash_matrix):
    crash_matrix(Forgetful)
'''


def loaded_by_name() -> list[str]:
    """The option that loads the plugin where the installed ZeroG doesn't declare it yet."""
    declared = EntryPoint("zerog", "zerog.testing.plugin", "pytest11") in entry_points(group="pytest11")
    return [] if declared else ["-p", "zerog.testing.plugin"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings =\n    error\n")
    return tmp_path


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    others = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]  # which takes longer to load than all the rest
    command = [sys.executable, "-m", "pytest", "-q", *others, *loaded_by_name(), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_fixture_is_there_and_its_message_names_the_fault(folder: Path) -> None:
    """A good job passes, another fails with the point and the document in pytest's output."""
    (folder / "test_it.py").write_text(TEST)
    printed = run_pytest(folder, "--junit-xml", "report.xml").stdout
    report = ElementTree.parse(folder / "report.xml").getroot()
    assert {case.get("name"): [part.tag for part in case] for case in report.iter("testcase")} == {
        "test_fine": [],
        "test_forgetful": ["failure"],
    }
    assert "after a crash at claim.written #1: output is {'attempts': 2}" in printed
    assert '"jobType": "forgetful"' in printed


def test_it_brings_nothing_heavy_before_it_is_used(folder: Path) -> None:
    """A project that never uses the fixture pays for no database, no event loop and no other test aid."""
    (folder / "test_it.py").write_text(
        "import sys\n\n\ndef test_it():\n"
        "    unwanted = ['sqlite3', 'hypothesis', 'click', 'rich', 'zerog.testing.crash_matrix']\n"
        "    assert [name for name in unwanted if name in sys.modules] == []\n"
        "    assert 'zerog.testing.plugin' in sys.modules\n"
    )
    result = run_pytest(folder, "-p", "no:hypothesispytest")
    assert "1 passed" in result.stdout, result.stdout
