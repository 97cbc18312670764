"""Every command's help has examples that work, and so has every line of a shell in docs/commands.md."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.builders import Shop, without_app
from tests.preloaded import StartedProgram
from tests.processes import stretched
from tests.programs import python
from zerog.cli.root import cli
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.webhooks import new_secret

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

STAND_IN = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"
"""The uuid that examples name."""

QUICKER = {"--watch 35": "--watch 0.1", "--every 30": "--every 0.1"}
"""Options of examples that wait, and shorter ones for tests."""

LONG = ("zerog worker ", "zerog reconcile myapp:app --every ", "zerog web ")
"""They run until a signal ends them."""

PLAYED_ELSEWHERE = "zerog demo"
"""tests/cli/demo covers it, and it takes its time."""


def commands(group: click.Group = cli, path: str = "zerog") -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by the words that call them."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def examples_of(path: str, command: click.Command) -> list[str]:
    shown = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    return re.findall(r"^ *Example: (zerog .*)$", re.sub(r" \\\n +", " ", shown), re.MULTILINE)


def lines_of_page() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("zerog ")]


EXAMPLES = dict.fromkeys(line for line in [e for path, c in commands() for e in examples_of(path, c)] + lines_of_page())


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _ in commands()])
def test_every_command_has_an_example(path: str, command: click.Command) -> None:
    """On its own line in the help, for this command; and a section in the page of commands."""
    examples = examples_of(path, command)
    assert examples
    assert all(example.startswith(f"{path} ") or example == path for example in examples)
    assert f"\n## {path}\n" in PAGE.read_text()
    assert any(line.startswith(path) for line in lines_of_page())


@pytest.mark.parametrize(
    "words", [[], ["jobs"], ["queues"], ["roles"], ["schedules"], ["schema"], ["types"], ["workers"]], ids=repr
)
def test_summaries_are_whole(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns the list of commands fits, a line each, and nothing in it is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(cli, [*words, "--help"]).stdout
    _, _, listed = shown.partition("Commands:\n")
    assert listed
    assert [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage:")] == []
    assert max(map(len, shown.splitlines())) <= 80


def job_for(shop: Shop, example: str) -> str:
    """A job to which this can be done."""
    if example.startswith(("zerog jobs cancel", "zerog jobs move", "zerog jobs pause")):
        return shop.submitted()
    if example.startswith("zerog jobs resume"):
        shop.app.pause(uuid := shop.submitted())
        return uuid
    if example.startswith("zerog jobs retry"):
        return shop.ended(500)
    return shop.ended()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_works(shop: Shop, example: str) -> None:
    """Run in a shell's place, in a folder with the app, with a real uuid: exit code 0."""
    if example == PLAYED_ELSEWHERE:
        pytest.skip("tests/cli/demo plays it")
    line = example.replace(STAND_IN, job_for(shop, example)) if STAND_IN in example else example
    for patient, quick in QUICKER.items():
        line = line.replace(patient, quick)
    if line.startswith("zerog reconcile"):
        shop.pending()
    if line.startswith("zerog schema check"):
        freeze(shop)
    if line.startswith("zerog workers"):
        web1 = WorkerIdentity("web1-4711-a1b2c3", 3600.0)
        WorkerRecords(shop.app.engine).renew(web1, 1, lambda: {"host": "web1", "queues": ["default"]})
    if line.startswith("zerog schedules"):
        nightly = shop.app.schedule_definition("0 3 * * *", "word_count", {"path": "war-and-peace.txt"})
        shop.app.schedules.add("nightly", nightly)
    if "--notify" in line:
        with (shop.folder / "myapp.py").open("a") as source:
            source.write(f"\napp.webhooks({dict.fromkeys(['hooks.example.com'], new_secret())})\n")
    if "--wait" in line or "--follow" in line:
        with worker(shop):
            check(shop, line)
    else:
        check(shop, line)


def freeze(shop: Shop) -> None:
    """Let the folder be a repository with a tag, and have schemas, frozen and stored."""
    for words in ("init -q", "add myapp.py", "-c user.name=n -c user.email=n@x commit -q -m first", "tag v1.2"):
        subprocess.run(["git", *words.split()], cwd=shop.folder, check=True)
    for line in ("setup myapp:app", "schema freeze myapp:app schemas"):
        result = CliRunner().invoke(cli, line.split())
        assert result.exit_code == 0, result.output


def check(shop: Shop, line: str) -> None:
    """Run a line in this process if it ends on its own, with an app that it names; otherwise as a shell does."""
    words = shlex.split(line, comments=True)
    if line.startswith(LONG) or "--follow" in line or "--wait" in line:
        check_in_a_process(shop, line)
    else:
        result = CliRunner(env={} if "myapp:app" in words else {"ZEROG_APP": "myapp:app"}).invoke(
            cli, words[1:], prog_name="zerog", catch_exceptions=False
        )
        assert result.exit_code == 0, result.output


def check_in_a_process(shop: Shop, line: str) -> None:
    words = shlex.split(line, comments=True)
    environment = without_app() if "myapp:app" in words else {**without_app(), "ZEROG_APP": "myapp:app"}
    log = shop.folder / "log"
    process = python().start("-m", *words, folder=shop.folder, log=log, environment=environment)
    try:
        if line.startswith(LONG):
            is_at_work(process, log)
            process.terminate()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log.read_text()


@contextmanager
def worker(shop: Shop) -> Iterator[None]:
    command = "-m", "zerog", "worker", "myapp:app", "--log-level", "ERROR"
    log = shop.folder / "worker.log"
    process = python().start(*command, folder=shop.folder, log=log, environment=without_app())
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def is_at_work(process: StartedProgram, log: Path) -> None:
    """Wait until a command that runs for ever prints that it does something."""
    deadline = time.monotonic() + stretched(30)
    while process.poll() is None and time.monotonic() < deadline:
        if re.search("runs|queue again|Serving", log.read_text()):
            return
        time.sleep(0.02)
    raise AssertionError(f"it did not come to work: {log.read_text()}")
