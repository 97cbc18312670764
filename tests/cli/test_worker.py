"""The exit code of ``zerog worker``: 2 is for mistakes that keep it from starting, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from zerog.exceptions import ConfigurationError, InvalidValue, ZerogError
from zerog.worker.session import Session


@pytest.mark.parametrize("error", [InvalidValue, ConfigurationError, ZerogError])
def test_what_fails_once_it_has_worked_is_no_mistake_of_its_start(
    error: type[ZerogError], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that gets exit code 2 starts no worker any more, and all jobs wait."""
    code = (
        "from zerog.worker.session import Session; import zerog.exceptions, sys\n"
        f"def fail(*_): raise zerog.exceptions.{error.__name__}('some document')\n"
        "Session._until_end = fail\n"
        "from zerog.cli.main import main; sys.argv = ['zerog', 'worker', 'myapp:app']; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "the worker failed: some document" in ended.stderr) == (1, True), ended.stderr


def test_a_mistake_that_keeps_it_from_starting_ends_with_2(zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Session) -> bool:
        raise ConfigurationError("no such thing")

    monkeypatch.setattr(Session, "_connect", fail)
    assert zerog("worker", "myapp:app", "--log-level", "ERROR").exit_code == 2
    assert zerog("worker", "myapp:app", "--concurrency", "0").exit_code == 2
