"""The plug-in of mypy, as ``mypy`` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.typing.test_typing import HERE, errors, expected, mypy

PLUGIN = "zerog.mypy_plugin"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the jobs which the programs import, so that what the plug-in reads of them comes from it."""
    made = tmp_path_factory.mktemp("mypy")
    checked = mypy(HERE / "plugin_jobs.py", made, PLUGIN)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return made


def test_right_programs_pass_strict(cache: Path) -> None:
    checked = mypy(HERE / "plugin_right.py", cache, PLUGIN)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_wrong_uses_are_refused_where_they_are(cache: Path) -> None:
    file = HERE / "plugin_wrong.py"
    checked = mypy(file, cache, PLUGIN)
    assert errors(checked) == expected(file), checked.stdout + checked.stderr
    assert 'Extra key "pth" for TypedDict "parameters of Import"' in checked.stdout
    assert 'Missing key "who" for TypedDict "parameters of Import"' in checked.stdout
    assert (
        'Unexpected keyword argument "lines" for "update_attrs" of "StoredJob"; did you mean "line"?' in checked.stdout
    )
