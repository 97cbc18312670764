"""The pytest plugin in separate runs of pytest."""

from __future__ import annotations

import subprocess
import sys
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings =\n    error\n")
    return tmp_path


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # By the name that the installed ZeroG declares; the plugins of all packages here would take seconds.
    plugins = ["--disable-plugin-autoload", "-p", "zerog", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *options]
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
    result = run_pytest(folder)
    assert "1 passed" in result.stdout, result.stdout
