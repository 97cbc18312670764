"""A deploy in the current folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zerog
from tests.cli.rehearsal.builders import Deploy
from zerog.loading import load_app

MODULES = ("before", "after")


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEROG_APP", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield Deploy(tmp_path)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def old(deploy: Deploy) -> Iterator[zerog.App]:
    """The app before the change."""
    with load_app("before:app") as app:
        yield app
