"""Every Python block in the README and in docs/ runs, one after the other, as a reader would try them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.preloaded import Preloaded
from zerog.cli.root import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES_WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text())]
SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.strip()
        for page in PAGES
        for line in [
            *"".join(SHELL.findall(page.read_text())).splitlines(),
            *re.findall("`(zerog [^`]+)`", page.read_text()),
        ]
        if line.startswith("zerog ")
    }
)
"""Lines of a shell, and commands within a text."""

LONG = {"changing.md", "deadletters.md", "finding.md", "fleet.md", "own_adapter.md", "testing.md"}
"""Pages whose examples run a suite, or several workers."""


@pytest.fixture(scope="module")
def python() -> Iterator[Preloaded]:
    """Python where a warning is an error."""
    made = Preloaded("-W", "error")
    yield made
    made.close()


def test_there_is_code_to_run() -> None:
    """The README and the page on jobs have examples; if they lose them, this file tests nothing."""
    assert {page.name for page in PAGES_WITH_CODE} >= {"README.md", "jobs.md"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.wide if page.name in LONG else []) for page in PAGES_WITH_CODE],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, python: Preloaded) -> None:
    """A block that begins with ``# name.py`` is saved under that name; each is a program, and all share the folder."""
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1):
        named = re.match(r"# (\w+\.py)\n", block)
        file = tmp_path / (named.group(1) if named else f"block_{number}.py")
        file.write_text(block)
        result = python.run(str(file), folder=tmp_path)
        assert result.returncode == 0, f"{page.name}, block {number}:\n{block}\n{result.stderr}"


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    """One installs and runs the demo, one sets up and runs the tests; each is one line."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python3 -m venv")]
    assert [line.split()[-1] for line in lines] == ["demo", "pytest"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links point to files that exist."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_their_options_exist(line: str) -> None:
    """Every command that a page names, down to its last subcommand, takes the options that it is shown with."""
    command: click.Command = cli
    for word in line.split()[1:]:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
    if isinstance(command, click.Group):
        command = command.commands["ls"]  # its default
    taken = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert taken.issuperset(re.findall(r"(?<= )--[a-z-]+", line)), f"{line}: it takes {', '.join(sorted(taken))}"


def test_decisions_have_numbers_and_dates() -> None:
    """Every number occurs once, and every record begins with the day of the decision."""
    text = (ROOT / "docs" / "decisions.md").read_text()
    rows = re.findall(r"^\| D(\d+) \| \d{4}-\d\d-\d\d \|", text, re.MULTILINE)
    records = re.findall(r"^### D(\d+)\. .+\n\n\*\d{4}-\d\d-\d\d(?:, replaces .+?)?\.\*", text, re.MULTILINE)
    assert len(records) == text.count("\n### ")
    assert sorted(map(int, rows + records)) == list(range(1, len(rows) + len(records) + 1))
