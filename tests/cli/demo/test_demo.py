"""The demo: it must show what it prints, and notice when it can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import python
from zerog.cli.demo.texts import Totals, count, find_texts, path_of, read_text


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120"}
    return python().run("-m", "zerog", "demo", *arguments, folder=Path.cwd(), environment=environment)


@pytest.mark.wide
def test_the_demo_kills_a_worker_and_the_totals_agree() -> None:
    """Without arguments: jobs run, a worker is killed, they resume, and the figures are those of a plain count."""
    result = demo()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "killed with SIGKILL" in result.stdout
    assert "The totals agree" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    [mine] = [row[1:] for row in rows if row[:1] == ["all"]]
    [plain] = [row[2:] for row in rows if row[:2] == ["plain", "count"]]
    assert mine == plain
    assert int(mine[0].replace(",", "")) > 500


def test_odd_files_are_counted_alike(tmp_path: Path) -> None:
    """Encodings, binary files, odd names and empty files don't disturb it."""
    (tmp_path / "utf8.txt").write_text("ein schöner Tag\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("fünf Wörter".encode("latin-1"))
    (tmp_path / "wide.txt").write_text("two words", encoding="utf-16")
    (tmp_path / "marked.txt").write_text("one", encoding="utf-8-sig")
    (tmp_path / "binary.bin").write_bytes(b"\x7fELF\0\0\0words that are none")
    (tmp_path / "empty.txt").write_text("")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/na\xffme %41.txt"))).write_text("here too")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    result = demo("--path", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    [row] = [line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["all"]]
    assert row[1:4] == ["6", "5", "10"]


@pytest.mark.parametrize("path", ["absent", "empty"])
def test_a_folder_without_text_is_refused(path: str, tmp_path: Path) -> None:
    """A wrong --path is one line and exit code 2."""
    (tmp_path / "empty").mkdir()
    result = demo("--path", str(tmp_path / path))
    assert result.returncode == 2
    assert path in result.stderr
    assert "Traceback" not in result.stderr


def test_names_survive_any_bytes(tmp_path: Path) -> None:
    """A file name that is no text is read back as the same file."""
    odd = os.fsencode(tmp_path) + b"/\xff\xfe 100%.txt"
    with open(odd, "w") as file:
        file.write("x")
    [name] = find_texts(tmp_path)
    assert name.isascii()
    assert os.fsencode(path_of(tmp_path, name)) == odd


def test_counting() -> None:
    """Lines, words and letters of one text."""
    assert count("one two\nthree_3 ü") == Totals(files=1, lines=2, words=4, letters=12)
    assert Totals(1, 2, 3, 4).plus(Totals(1, 1, 1, 1)) == Totals(2, 3, 4, 5)


def test_a_truncated_mark_is_read_all_the_same(tmp_path: Path) -> None:
    """A file with a wrong mark is counted as Latin-1 rather than refused."""
    file = tmp_path / "lying.txt"
    file.write_bytes(b"\xff\xfeabc")
    assert read_text(file)


@pytest.mark.slow
def test_the_picture_of_the_readme_can_be_made(tmp_path: Path) -> None:
    """It shows the killed worker's jobs waiting while the rest progress."""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-m", "tests.cli.demo.picture", str(tmp_path / "bars.svg")], cwd=root, check=True)
    text = (tmp_path / "bars.svg").read_text().replace("&#160;", " ")
    for words in ("killed with SIGKILL", "its worker is dead", "word_count 6"):
        assert words in text
    assert (root / "docs/pictures/bars.svg").exists()
