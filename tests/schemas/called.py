"""Call ``zerog schema`` in this process, with an app that is imported anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zerog.cli.root import cli


def call(*words: str, folder: Path, **environment: str) -> Result:
    """Call a command in a folder; modules that its app imports from there are forgotten afterwards."""
    before, known = os.getcwd(), set(sys.modules)
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(sys, "dont_write_bytecode", True)
            return CliRunner(env=environment).invoke(cli, words, catch_exceptions=False)
    finally:
        os.chdir(before)
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
