"""What configures the logging of ``zerog worker``: the options, the application, or the default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.builders import zerog_command
from tests.marks import wide

APP = """
import logging, logging.config
import zerog
{configuration}
app = zerog.App("sqlite:///jobs.db")
logging.getLogger("shop").warning("imported")

@app.job
def talk(job):
    pass
"""

BASIC = "logging.basicConfig(format='OWN %(name)s %(levelname)s %(message)s', level='INFO')"
DICT = (
    "logging.config.dictConfig({'version': 1, 'handlers': {'h': {'class': 'logging.StreamHandler'}}, "
    "'root': {'handlers': ['h'], 'level': 'INFO'}})"
)


def lines(folder: Path, configuration: str, *options: str) -> list[str]:
    """What a worker logs that runs a job of an app with this configuration."""
    (folder / "myapp.py").write_text(APP.format(configuration=configuration))
    assert zerog_command("submit", "myapp:app", "talk", folder=folder).returncode == 0
    ended = zerog_command("worker", "myapp:app", "--burst", *options, folder=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()


def test_without_either_plain_lines_are_written(tmp_path: Path) -> None:
    """Those of the import, too."""
    first, *rest = lines(tmp_path, "")
    assert first.endswith("Z WARNING shop imported")
    assert any("finished: succeeded" in line for line in rest)
    assert not any("no effect" in line for line in rest)


def test_the_application_decides_without_options(tmp_path: Path) -> None:
    """Every line has its form, and each is written once."""
    written = lines(tmp_path, BASIC)
    assert written[0] == "OWN shop WARNING imported"
    assert all(line.startswith("OWN ") for line in written)
    assert sum("finished: succeeded" in line for line in written) == 1


@pytest.mark.parametrize(
    ("option", "configuration"),
    [
        (["--log-level", "INFO"], DICT),
        (["--log-format", "json"], BASIC),
        *wide((["--log-level", "INFO"], BASIC), (["--log-format", "json"], DICT)),
    ],
)
def test_an_option_beats_the_application_and_says_so(tmp_path: Path, option: list[str], configuration: str) -> None:
    """Each line is written once; the first one names what has no effect."""
    _, *written = lines(tmp_path, configuration, *option)
    messages = [json.loads(line)["message"] if "json" in option else line.split(" ", 2)[2] for line in written]
    assert f"the application's configuration of logging has no effect: {option[0]}" in messages[0]
    assert sum("finished: succeeded" in message for message in messages) == 1


def test_a_configuration_that_disables_the_logger_is_named(tmp_path: Path) -> None:
    """Otherwise a worker that runs jobs would look idle for ever."""
    written = lines(tmp_path, DICT)
    [named] = [line for line in written if line.startswith("zerog: ")]
    assert "disable_existing_loggers=False" in named
