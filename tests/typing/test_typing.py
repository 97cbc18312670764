"""The types that a user's checker sees."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zerog

HERE = Path(__file__).parent


def mypy(path: Path, cache: Path, plugin: str = "", cwd: Path = HERE.parent.parent) -> subprocess.CompletedProcess[str]:
    config = cache / "mypy.ini"
    config.write_text(
        f"[mypy]\nstrict = True\nplugins = {plugin}\n"
        "[mypy-couchbase.*]\nignore_missing_imports = True\n"  # it has no types
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(cache), str(path)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.wide
def test_code_that_uses_the_public_api_passes_a_strict_checker(cache: Path) -> None:
    checked = mypy(HERE / "public_api.py", cache)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_public_name_is_used_there() -> None:
    """So that none of them can lose its types unnoticed."""
    tree = ast.parse((HERE / "public_api.py").read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    public = set(zerog.__all__)
    for owner in (zerog.App, zerog.BaseJob, zerog.Worker, zerog.JobRegistry):
        for name in dir(owner):
            member = inspect.getattr_static(owner, name)
            if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                public.add(name)
    assert sorted(public - used) == []


def errors(checked: subprocess.CompletedProcess[str]) -> dict[int, list[str]]:
    """Return the names of mypy's errors by line."""
    found: dict[int, list[str]] = {}
    for number, code in re.findall(r"^[^:\n]+:(\d+): error: .*\[([a-z-]+)\]$", checked.stdout, re.MULTILINE):
        found[int(number)] = sorted([*found.get(int(number), []), code])
    return found


def expected(file: Path) -> dict[int, list[str]]:
    return {
        number: sorted(line.rpartition("# E: ")[2].split())
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "  # E: " in line
    }


@pytest.mark.wide
def test_wrong_uses_are_refused_where_they_are(cache: Path) -> None:
    """Line by line, with mypy's name for each error, and nothing else is."""
    file = HERE / "wrong_uses.py"
    assert errors(mypy(file, cache)) == expected(file)
    assert len(expected(file)) > 30
