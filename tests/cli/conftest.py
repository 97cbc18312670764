"""Fixtures of the command line's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.builders import Shop
from tests.logs import logging_kept
from zerog.cli.root import cli

Zerog = Callable[..., Result]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A folder with an app, which is the current one; commands run in this process find the app there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEROG_APP", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "myapp", raising=False)
    made = Shop(tmp_path)
    yield made
    made.close()
    sys.modules.pop("myapp", None)


@pytest.fixture
def zerog(shop: Shop) -> Zerog:
    """The command, run in this process: quick, and without a terminal. What it does to logging ends with it."""

    def run(*arguments: str) -> Result:
        with logging_kept():
            return CliRunner().invoke(cli, arguments, catch_exceptions=False)

    return run
