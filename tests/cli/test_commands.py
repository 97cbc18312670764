"""The command line as a shell sees it: output, messages, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zerog
from tests.cli.builders import zerog_command
from tests.cli.conftest import Zerog
from zerog.cli.root import cli
from zerog.loading import load_app

APP = """
import zerog
from marshmallow import Schema, fields

class Greet(zerog.BaseJob):
    JOB_TYPE = "greet"

    class Params(Schema):
        name = fields.String(required=True)
        times = fields.Integer(load_default=1)

    def run(self):
        return {"text": f"hello {self.name}" * self.times}

class Refuse(zerog.BaseJob):
    JOB_TYPE = "refuse"

    def run(self):
        self.raise_error_finish(403, "no")

app = zerog.App("sqlite:///jobs.db")
app.register(Greet, Refuse)
not_an_app = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("shop", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def in_process(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=text, catch_exceptions=False)


def test_submit_work_and_look(folder: Path) -> None:
    """The three commands in a row, as the README has them."""
    submitted = zerog_command("submit", "shop:app", "greet", "name=Ada", "times=2")
    assert submitted.returncode == 0, submitted.stderr
    uuid = submitted.stdout.strip()
    worked = zerog_command("worker", "shop:app", "--burst", "--log-level", "WARNING")
    assert (worked.returncode, worked.stderr) == (0, "")
    shown = zerog_command("progress", "shop:app", uuid)
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["status"] == "succeeded"
    app = zerog.App("sqlite:///jobs.db")
    assert app.datastore.read(f"zerog_job_{uuid}")["output"] == {"text": "hello Adahello Ada"}
    app.close()


def test_progress_of_a_failed_job_exits_with_1(folder: Path) -> None:
    """A shell can distinguish failure from success, with a bar and without."""
    uuid = in_process("submit", "shop:app", "refuse").stdout.strip()
    zerog_command("worker", "shop:app", "--burst")
    assert zerog_command("progress", "shop:app", uuid).returncode == 1
    followed = zerog_command("progress", "shop:app", uuid, "--follow")
    assert followed.returncode == 1
    assert "refuse" in followed.stdout
    assert "failed" in followed.stdout


def test_a_waiting_job_is_no_failure(folder: Path) -> None:
    """progress exits with 0 while a job waits."""
    uuid = in_process("submit", "shop:app", "greet", "name=x", "--delay", "60").stdout.strip()
    shown = in_process("progress", "shop:app", uuid)
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["status"] == "scheduled"


@pytest.mark.parametrize("expires", ["3600", "2050-01-04T08:00+01:00"])
def test_a_job_that_expires_shows_when(folder: Path, expires: str) -> None:
    """--expires takes seconds or a time."""
    uuid = in_process("submit", "shop:app", "greet", "name=x", "--expires", expires).stdout.strip()
    expected = json.loads(in_process("progress", "shop:app", uuid).stdout)["expiresAt"]
    assert expected.startswith("2050-01-04T07:00") == (expires != "3600")
    assert f"{expected}, unless a run has begun by then" in in_process("jobs", "show", "shop:app", uuid).stdout


def test_parameters_as_json(folder: Path) -> None:
    """--json takes one object or a list, from a file or standard input."""
    (folder / "many.json").write_text('[{"name": "a"}, {"name": "b"}]')
    assert len(in_process("submit", "shop:app", "greet", "--json", "many.json").stdout.split()) == 2
    one = in_process("submit", "shop:app", "greet", "--json", "-", text='{"name": "c"}')
    assert len(one.stdout.split()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["submit", "shop:app", "greet"], 2, ["name", "required", "nothing was stored"]),
        (["submit", "shop:app", "greet", "name=x", "times=many"], 2, ["times", "integer"]),
        (["submit", "shop:app", "greet", "name=x", "uuid=1"], 2, ["uuid", "set by ZeroG"]),
        (["submit", "shop:app", "greet", "name"], 2, ["'name'", "KEY=VALUE"]),
        (["submit", "shop:app", "greeet", "name=x"], 2, ["greeet", "greet", "refuse"]),
        (["submit", "shop:app", "greet", "name=x", "--json", "a.json"], 2, ["not both"]),
        (["submit", "shop:app", "greet", "--json", "absent.json"], 2, ["absent.json", "No such file"]),
        (["submit", "shop:app", "greet", "name=x", "--delay", "-1"], 2, ["delay=-1", "seconds"]),
        (["submit", "shop:app", "greet", "name=x", "--expires", "soon"], 2, ["soon", "nothing was stored"]),
        (["submit", "shop:app", "greet", "name=x", "--expires", "0"], 2, ["expires=0.0", "othing was stored"]),
        (["submit", "shop", "greet"], 2, ["MODULE:APP"]),
        (["submit", "absent:app", "greet"], 2, ["no module absent"]),
        (["submit", "shop:not_an_app", "greet"], 2, ["not a zerog.App", "app"]),
        (["submit", "shop:nothing", "greet"], 2, ["in shop there is no nothing", "apps in that module: app"]),
        (["progress", "shop:app", "42"], 2, ["'42'", "uuid"]),
        (["progress", "shop:app", "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"], 1, ["there is no job 0190c3f2"]),
    ],
)
def test_mistakes_are_reported_in_one_line(folder: Path, arguments: list[str], code: int, words: list[str]) -> None:
    """What is wrong, what was expected, no traceback, and an exit code that shows whose mistake it was."""
    result = in_process(*arguments)
    assert result.exit_code == code, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "shop:app", "greet"], ["nothing was stored"]),
        (["worker", "shop:app", "--concurrency", "0"], ["concurrency=0"]),
        (["worker", "shop:app", "--lease", "0"], ["lease=0"]),
        (["worker", "shop:app", "--log-level", "LOUD"], ["LOUD"]),
        (["worker", "shop:app", "--executor", "magic"], ["magic", "thread"]),
    ],
)
def test_a_shell_gets_a_mistake_on_standard_error(folder: Path, arguments: list[str], words: list[str]) -> None:
    """The same of a process, without a traceback; a worker writes past what Python calls standard error."""
    result = zerog_command(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("text", ["", "{", '{"name": NaN}', "[[[" * 50_000])
def test_bad_json_is_refused(folder: Path, text: str) -> None:
    """Malformed JSON is an error, never an empty set of parameters."""
    result = in_process("submit", "shop:app", "greet", "--json", "-", text=text)
    assert result.exit_code == 2
    assert "holds no JSON" in result.stderr
    app = zerog.App("sqlite:///jobs.db")
    assert list(app.jobs()) == []
    app.close()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import helper\n", ['myapp.py", line 1', "import helper", 'helper.py", line 2', "ZeroDivisionError"]),
        ("def broken(:\n", ['myapp.py", line 1', "def broken(:", "SyntaxError"]),
        ("import nosuchthing\n", ['myapp.py", line 1', "No module named 'nosuchthing'"]),
        ("raise ValueError('\\x1b[2J')\n", ["ValueError: \\x1b[2J"]),
    ],
)
def test_a_mistake_in_the_users_module_is_shown_in_its_own_frames(
    tmp_path: Path, source: str, words: list[str]
) -> None:
    """Not in those of ZeroG and of importlib, which say nothing about it; the exit code is 1."""
    (tmp_path / "myapp.py").write_text(source)
    (tmp_path / "helper.py").write_text("def share():\n    return 1 / 0\nshare()\n")
    result = zerog_command("jobs", "ls", "myapp:app", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("zerog: myapp can't be imported: ")
    assert [word for word in words if word not in result.stderr] == []
    assert "importlib" not in result.stderr and "/zerog/" not in result.stderr.replace(str(tmp_path), "")


def test_the_database_is_named_when_it_cant_be_used(folder: Path) -> None:
    """A datastore out of reach is one line naming the file."""
    (folder / "far.py").write_text("import zerog\napp = zerog.App('sqlite:///no/such/folder/jobs.db')\n")
    result = zerog_command("submit", "far:app", "greet")
    assert result.returncode != 0
    assert "no/such/folder" in result.stderr


def test_every_command_has_help_and_the_version_is_printed() -> None:
    """--help works everywhere; the examples in it name the command."""
    for command in ("worker", "submit", "progress", "demo"):
        result = in_process(command, "--help")
        assert result.exit_code == 0
        assert command in result.output
    assert zerog.__version__ in in_process("--version").output


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_named(tmp_path: Path, missing: str) -> None:
    """Without click or rich the command names what to install; click alone is there wherever Flask is."""
    fault = f"raise ModuleNotFoundError(\"No module named '{missing}'\", name={missing!r})\n"
    (tmp_path / f"{missing}.py").write_text(fault)
    (tmp_path / "myapp.py").write_text("import zerog\napp = zerog.App('sqlite:///jobs.db')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zerog.cli.main as m; m.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "jobs", "ls", "myapp:app"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
    )
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert f"needs {missing}; install it with: pip install -e '.[cli]'" in result.stderr


def test_a_value_found_instead_of_an_app_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a secret; the name of its type is enough."""
    (tmp_path / "mistaken_for_an_app.py").write_text("password = 'hunter2'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(zerog.ConfigurationError, match=r"password is a str, not a zerog\.App") as caught:
        load_app("mistaken_for_an_app:password")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("called", [["jobs", "myapp:app", "ls"], ["myapp:app", "jobs", "ls"]])
def test_an_app_before_its_command_is_named(zerog: Zerog, called: list[str]) -> None:
    """A slip that other tools' order of words invites."""
    result = zerog(*called)
    assert result.exit_code == 2
    assert "'myapp:app' names an app, which comes after the command" in result.stderr


@pytest.mark.parametrize("queues", [",", "high,,low", "high,"])
def test_an_empty_name_among_queues_starts_no_worker(zerog: Zerog, queues: str) -> None:
    """It would serve other queues than was meant, the default one even."""
    result = zerog("worker", "myapp:app", "--burst", "--queues", queues)
    assert result.exit_code == 2
    assert f"'--queues': {queues!r} has an empty name" in result.stderr
