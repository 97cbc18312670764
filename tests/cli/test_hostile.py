"""Contents of jobs, documents and records are text for every command: they move no cursor and forge no line."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.builders import ALICE, Shop, zerog_command
from tests.cli.corpus import filled
from tests.hostile import FORGED, NAMES, TEXTS, forged, unsafe
from tests.marks import wide
from zerog.cli.root import cli
from zerog.engine.joblog import edited
from zerog.fleet.heartbeat import WorkerRecords

COMMANDS: dict[str, list[list[str]]] = {
    "completion": [["bash"], ["zsh"]],
    "copy": [
        ["--from", "sqlite:///jobs.db", "--to", "sqlite:///copied.db", "--dry-run"],
        ["--from", "sqlite:///jobs.db", "--to", "sqlite:///copied.db"],
        ["--from", "\x1b[2J\n" + FORGED, "--to", "sqlite:///\x1b[2J\n" + FORGED],
    ],
    "demo": [["--path", "hostile"]],
    "doctor": [[], ["--json"]],
    "jobs cancel": [["{waiting}"], ["--status", "scheduled", "--yes"], ["--json", "{ended}"], ["\x1b[2J\n" + FORGED]],
    "jobs edit": [
        ["{waiting}", "--set", "path=\x1b[2J\n" + FORGED, "--reason", "\x1b[2J", "--dry-run"],
        ["{waiting}", "--set", "\x1b[2J\n" + FORGED + "=x", "--reason", "\x1b[2J"],
    ],
    "jobs errors": [["--status", "failed", "--status", "scheduled"], ["--json"], ["--type", "\x1b[2J\n" + FORGED]],
    "jobs ls": [["--all"], ["--all", "--errors"], ["--all", "--json"], ["--type", "\x1b[2J"]],
    "jobs move": [
        ["{waiting}", "--to", "\x1b[2J\n" + FORGED],
        ["{waiting}", "--priority", "1"],
        ["--json", "{ended}", "--to", "x"],
    ],
    "jobs pause": [["{waiting}", "--reason", "\x1b[2J\n" + FORGED], ["{ended}"], ["--json", "\x1b[2J\n" + FORGED]],
    "jobs resume": [["{waiting}"], ["{ended}"], ["--json", "\x1b[2J\n" + FORGED]],
    "jobs retry": [["{ended}", "--reason", "\x1b[2J\n" + FORGED], ["{running}"]],
    "jobs rm": [["{ended}", "{running}"], ["{running}", "--damaged"]],
    "jobs show": [["{each}"], ["{each}", "--json"], ["{each}", "--no-history"]],
    "migrate": [["--dry-run"], ["--json"], ["--type", "\x1b[2J\n" + FORGED]],
    "progress": [["{each}"], ["{ended}", "--follow"]],
    "queues ls": [[], ["--json"]],
    "queues pause": [["--reason", "\x1b[2J\n" + FORGED, "x\x1b[2J"], ["--reason", "\x1b[2J\n" + FORGED, "--", "-x"]],
    "queues resume": [["x\x1b[2J\n" + FORGED], ["--", "-x"]],
    "queues set": [["x\x1b[2J\n" + FORGED, "--max-running", "1"], ["x", "--rate", "\x1b[2J\n" + FORGED]],
    "reconcile": [[], ["--json"]],
    "rehearse": [[], ["--json"], ["--status", "failed"], ["--from", "\x1b[2J\n" + FORGED]],
    "roles ls": [[], ["--json"]],
    "roles rm": [["\x1b[2J\n" + FORGED]],
    "roles set": [["x", "\x1b[2J\n" + FORGED], ["\x1b[2J\n" + FORGED, "x"]],
    "schedules add": [
        ["x", "word_count", "path=\x1b[2J\n" + FORGED, "--cron", "0 3 * * *"],
        ["\x1b[2J\n" + FORGED, "word_count", "path=x", "--every", "5m"],
        ["x", "word_count", "path=x", "--cron", "\x1b[2J\n" + FORGED],
        ["x", "word_count", "path=x", "--cron", "0 3 * * *", "--timezone", "\x1b[2J\n" + FORGED],
        ["x", "word_count", "path=x", "--every", "\x1b[2J\n" + FORGED],
    ],
    "schedules ls": [[], ["--all"], ["--json"]],
    "schedules pause": [["--reason", "\x1b[2J\n" + FORGED, "a"], ["x\x1b[2J\n" + FORGED]],
    "schedules resume": [["a"], ["x\x1b[2J\n" + FORGED]],
    "schedules rm": [["a"], ["x\x1b[2J\n" + FORGED]],
    "schedules run": [["a"], ["x\x1b[2J\n" + FORGED]],
    "schedules show": [["a"], ["x"], ["a", "--json"], ["x\x1b[2J\n" + FORGED]],
    "schema check": [["--against", "\x1b[2J\n" + FORGED], ["--json", "--against", "\x1b[2J\n" + FORGED]],
    "schema sample": [["golden"], ["--json", "golden"], ["--type", "\x1b[2J\n" + FORGED, "golden"]],
    "schema freeze": [["\x1b[2J\n" + FORGED], ["--json", "schemas"]],
    "schema unused": [[], ["--json"]],
    "setup": [[], ["--json"], ["--reindex"], ["--reindex", "--json"]],
    "submit": [["word_count", "\x1b[2J\n" + FORGED + "=x"], ["\x1b[2J\n" + FORGED], ["word_count", "path=\x1b[2J"]],
    "top": [["--once"], ["--json"], ["--interval", "\x1b[2J\n" + FORGED]],
    "types hold": [["x\x1b[2J\n" + FORGED], ["--reason", "\x1b[2J\n" + FORGED, "word_count"]],
    "types ls": [[], ["--schema"], ["--json"]],
    "types release": [["x\x1b[2J\n" + FORGED], ["word_count"]],
    "web": [["--host", "x\x1b[2J\n" + FORGED], ["--token-file", "x\x1b[2J"], ["--prefix", "\x1b[2J\n" + FORGED]],
    "worker": [["--queues", "none", "--burst", "--name", "x\x1b[2J\n" + FORGED], ["--log-level", "\x1b[2J"]],
    "workers drain": [["--all"], ["--json", "--all"], ["x\x1b[2J\n" + FORGED]],
    "workers ls": [[], ["--json"]],
    "workers undrain": [["--all"], ["x\x1b[2J\n" + FORGED]],
}
"""Arguments for each command; {each} stands for every job, one after the other."""

WITHOUT_APP = {"completion", "copy", "demo"}


def commands(group: click.Group = cli, path: str = "") -> Iterator[str]:
    """The names of all commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_the_corpus_goes_through_every_command() -> None:
    assert sorted(commands()) == sorted(COMMANDS)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """A file full of it, and the uuids of its jobs by their state."""
    shop = Shop(tmp_path_factory.mktemp("corpus"))
    uuids = filled(shop)
    shop.close()
    return shop.folder / "jobs.db", uuids


@pytest.fixture
def jobs(shop: Shop, corpus: tuple[Path, dict[str, list[str]]]) -> dict[str, list[str]]:
    file, uuids = corpus
    with closing(sqlite3.connect(file)) as filled, closing(sqlite3.connect(shop.folder / "jobs.db")) as empty:
        filled.backup(empty)
    return uuids


def parse(words: list[str]) -> click.Context:
    """Parse a command line without running it. Raises UsageError."""
    command, words = cli.commands[words[0]], words[1:]
    if isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context("zerog", words)


def pasted(command: str, folder: Path) -> list[list[str]]:
    """The command lines that a shell runs when a command is pasted; ``zerog`` itself only records its arguments."""
    (folder / "bin").mkdir(exist_ok=True)
    stub = folder / "bin" / "zerog"
    stub.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stub.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.run(
        ["/bin/sh"], input=command, env={"PATH": path}, cwd=folder, text=True, capture_output=True, check=True
    )
    return [json.loads(line) for line in shell.stdout.splitlines()]


def test_a_command_that_doctor_offers_can_be_pasted(shop: Shop, jobs: dict[str, list[str]]) -> None:
    """Each line is one command of zerog that it takes as it is meant, and runs nothing else."""
    lines = CliRunner().invoke(cli, ["doctor", "myapp:app"], color=True).output.splitlines()
    commands = [line.removeprefix("    $ ") for line in lines if line.startswith("    $ zerog ")]
    taken = pasted("\n".join(commands), shop.folder)
    assert len(taken) == len(commands)
    assert {words[-1] for words in taken if words[:2] == ["queues", "resume"]} == set(NAMES)
    for words in taken:
        parse(words)
    assert not list(shop.folder.rglob("canary"))


@pytest.mark.parametrize("name", ["-x", *wide(*(name for name in NAMES if name != "-x"))])
def test_a_command_of_doctor_serves_the_queue_it_names(name: str, shop: Shop) -> None:
    """A name that begins with a dash is no option."""
    WorkerRecords(shop.app.engine).renew(ALICE, 1, lambda: {"queues": ["default"]})
    uuid = shop.submitted(queue=name)
    found = json.loads(CliRunner().invoke(cli, ["doctor", "myapp:app", "--json"]).output)["findings"]
    [unserved] = [finding["command"] for finding in found if finding["what"].endswith("which no worker serves")]
    [words] = pasted(unserved, shop.folder)
    assert zerog_command(*words, "--burst", folder=shop.folder).returncode == 0
    assert shop.status(uuid) == "succeeded"


def printed(shop: Shop, command: str, jobs: dict[str, list[str]], **environment: str) -> Iterator[tuple[str, str]]:
    """Each command line, and what it prints on both streams."""
    start = [*command.split(), *([] if command in WITHOUT_APP else ["myapp:app"])]
    for arguments in COMMANDS[command]:
        which = next((word[1:-1] for word in arguments if word[1:-1] in (*jobs, "each")), "waiting")
        for uuid in chain(*jobs.values()) if which == "each" else jobs[which]:
            line = [*start, *(uuid if word in (f"{{{which}}}", "{each}") else word for word in arguments)]
            if command in ("worker", "demo"):  # replace the streams of their process, or run others
                ended = zerog_command(*line, folder=shop.folder, **environment)
                yield repr(line), ended.stdout + ended.stderr
            else:
                result = CliRunner(env=environment).invoke(cli, line, color=True)
                assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exception)
                yield repr(line), result.output


COLOURED = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}
"""The environment of a terminal, as rich recognizes it."""


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_obeys(command: str, shop: Shop, jobs: dict[str, list[str]]) -> None:
    """In a pipe nothing but text, on a terminal colours and bars beside it; no text begins a line as it likes."""
    for environment in ({}, COLOURED) if command not in ("worker", "demo") else ({},):
        terminal = environment == COLOURED
        for line, text in printed(shop, command, jobs, **environment):
            assert (unsafe(text, terminal), forged(text, terminal)) == ("", []), line


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_reason_is_one_line_for_any_handler(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also for the handlers of an application that embeds a worker."""
    with caplog.at_level("INFO", "zerog"):
        edited({"logId": text, "jobType": text, "uuid": text}, text, text, [text])
    [message] = caplog.messages
    assert (unsafe(message), "\n" in message) == ("", False)


@pytest.mark.parametrize("where", ["raise error", "threading.Thread(target=fail).start()"])
def test_a_traceback_of_a_command_holds_text_too(where: str, tmp_path: Path) -> None:
    """An error that no command expects, in its own thread and in another one."""
    raising = f"import threading\nerror = ValueError({''.join(TEXTS.values())!r})\ndef fail(): raise error\n{where}\n"
    (tmp_path / "myapp.py").write_text(raising)
    printed = zerog_command("types", "myapp:app", folder=tmp_path).stderr
    assert "    ValueError: " in printed
    assert (unsafe(printed), forged(printed)) == ("", [])


@pytest.mark.parametrize("command", ["jobs show", "jobs ls", "submit"])
def test_an_ascii_stream_shows_every_character(command: str, shop: Shop) -> None:
    """As in a cron job without a locale: nothing fails, and nothing is left out; click prints UTF-8, rich escapes."""
    uuid = shop.submitted(queue="größe")
    operands = {"jobs show": [uuid], "jobs ls": [], "submit": ["grün"]}[command]
    ended = zerog_command(*command.split(), "myapp:app", *operands, folder=shop.folder, PYTHONIOENCODING="ascii:strict")
    assert "Traceback" not in ended.stderr
    shown = ended.stdout + ended.stderr
    assert any(text in shown for text in ("größe", "gr\\xf6\\xdfe", "grün", "gr\\xfcn"))


LOGGED = """
import json, logging, pathlib
import zerog

app = zerog.App("sqlite:///jobs.db")

class Logs(zerog.BaseJob):
    JOB_TYPE = "logs"
    MAX_ERRORS = 1

    def run(self):
        for name, text in json.loads(pathlib.Path("texts.json").read_text()).items():
            self.job_log_info(text)
            logging.getLogger("shop").warning("the client sent %s", text)
            logging.getLogger(text).warning("by a logger of this name")
            logging.getLogger("shop").warning("with a stack", stack_info=True)
            try:
                raise ValueError(text)
            except ValueError:
                logging.getLogger("shop").exception(text)
        error = ValueError("\\n".join(json.loads(pathlib.Path("texts.json").read_text()).values()))
        error.add_note("a note\\n" + str(error))
        raise ExceptionGroup(str(error), [error]) from error

app.register(Logs)
"""


@pytest.mark.parametrize("form", ["plain", "json"])
def test_the_log_holds_text_in_its_own_lines(form: str, tmp_path: Path) -> None:
    """Each record begins a line, further lines are indented, and nothing else begins one."""
    (tmp_path / "myapp.py").write_text(LOGGED)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    assert zerog_command("submit", "myapp:app", "logs", folder=tmp_path).returncode == 0
    ended = zerog_command("worker", "myapp:app", "--burst", "--log-format", form, folder=tmp_path)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 0
    assert unsafe(ended.stderr) == ""
    assert len(lines) > 4 * len(TEXTS)
    if form == "json":
        messages = [json.loads(line)["message"] for line in lines]
        assert {f"the client sent {text}" for text in TEXTS.values()} <= set(messages)
    else:
        began = re.compile(rf"{datetime.now(UTC).year}-\d\d-\d\dT[\d:.]+Z [A-Z]+ ").match
        assert [line for line in lines if not began(line) and not line.startswith("    ")] == []
        assert forged(ended.stderr) == []
        assert any(line.startswith("    ValueError: ") for line in lines)
