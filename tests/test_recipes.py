"""The recipes of the docs for a deploy's pipeline: valid for the services that read them, and run as they are shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from tests.acceptance.harness import ROOT
from tests.marks import wide
from zerog.backends.urls import URL_VARIABLE
from zerog.cli.root import cli
from zerog.loading import load_app

CHANGING, SCHEMAS = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("changing", "schemas"))

OLD = """
import zerog
from marshmallow import Schema, fields

class Pack(zerog.BaseJob):
    JOB_TYPE = "pack"

    class Params(Schema):
        number = fields.Integer(required=True)

    def run(self):
        return 200

app = zerog.App()
app.register(Pack)
"""
NEW = OLD.replace("required=True)", "required=True); weight = fields.Float(required=True)")


def blocks(page: str, first: str) -> str:
    """The block of a page that begins with this word."""
    [block] = re.findall(rf"^```\w*\n({re.escape(first)}.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(block)


def workflows() -> dict[str, Any]:
    """The parts for GitHub Actions, each within the least workflow that has it."""
    job = yaml.safe_load(blocks(CHANGING, "rehearse:"))
    steps = yaml.safe_load(blocks(SCHEMAS, "- run:"))
    return {
        "rehearse": {"on": "push", "jobs": job},
        "check": {"on": "push", "jobs": {"check": {"runs-on": "ubuntu-latest", "steps": steps}}},
    }


def procfile() -> dict[str, str]:
    lines = blocks(CHANGING, "release:").splitlines()
    return dict(re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line).groups() for line in lines)  # type: ignore[union-attr]


def init_container() -> dict[str, Any]:
    [container] = yaml.safe_load(blocks(CHANGING, "initContainers:"))["initContainers"]
    return dict(container)


def shell_lines() -> dict[str, str]:
    """What each recipe runs, as lines of a shell."""
    ran = {name: "\n".join(step["run"] for step in steps if "run" in step) for name, steps in _steps().items()}
    return {**ran, **procfile(), "init container": shlex.join(init_container()["command"])}


def _steps() -> dict[str, list[dict[str, Any]]]:
    return {name: job["steps"] for flow in workflows().values() for name, job in flow["jobs"].items()}


@pytest.mark.parametrize("name", ["rehearse", "check"])
def test_github_takes_the_workflow(name: str) -> None:
    """By the schema of SchemaStore, which check-jsonschema ships."""
    schema = files(check_jsonschema).joinpath("builtin_schemas", "vendor", "github-workflows.json").read_text("utf-8")
    validator = jsonschema.Draft7Validator(json.loads(schema))
    assert [error.message for error in validator.iter_errors(workflows()[name])] == []


def test_kubernetes_takes_the_init_container(tmp_path: Path) -> None:
    """Within the deployment of ``examples/deploy``, by the schema of the newest version, strictly."""
    deployment = yaml.safe_load((ROOT / "examples" / "deploy" / "kubernetes.yaml").read_text())
    deployment["spec"]["template"]["spec"]["initContainers"] = [init_container()]
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(tmp_path / "deployment.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr + result.stdout


def test_every_command_and_option_exists() -> None:
    """Click itself parses each call of zerog; a word that it doesn't know ends the test with its message."""
    calls = [
        shlex.split(call)[1:]
        for text in shell_lines().values()
        for line in text.splitlines()
        for call in line.split("&&")
        if call.split()[0] == "zerog"
    ]
    assert [call[0] for call in calls] == ["rehearse", "schema", "setup", "rehearse", "worker", "rehearse"]
    for call in calls:
        command: Any = cli
        while call[0] in getattr(command, "commands", {}):
            command = command.commands[call.pop(0)]
        assert command.make_context(command.name, call).params["app"] == "myapp:app"


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the new code, and the URL of a file with a job of the old one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("old.py").write_text(OLD)
    url = f"sqlite:///{tmp_path}/jobs.db"
    with monkeypatch.context() as patch:
        patch.setenv("ZEROG_URL", url)
        with load_app("old:app") as app:
            app.submit("pack", {"number": 1})
    del sys.modules["old"]
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        ("rehearse", OLD),
        ("release", NEW),
        *wide(("rehearse", NEW), ("release", OLD), ("init container", OLD), ("init container", NEW)),
    ],
)
def test_a_recipe_stops_a_broken_deploy_and_no_sound_one(recipe: str, code: str, deploy: Path) -> None:
    """Run by a shell in the environment that the recipe gives, without what only a service can do (pip, git)."""
    expected = 0 if code == OLD else 1
    Path("myapp.py").write_text(code)
    given = "JOBS_URL" if recipe == "rehearse" else "ZEROG_URL"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZEROG_")}
    environment |= {given: f"sqlite:///{deploy}/jobs.db", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    lines = [line for line in shell_lines()[recipe].splitlines() if line.startswith("zerog ")]
    result = subprocess.run(
        ["/bin/sh", "-ec", "\n".join(lines)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == expected, result.stdout + result.stderr
    assert ("all well" if expected == 0 else "it has no weight, which is required") in result.stdout


def test_the_environment_of_each_recipe_has_what_its_commands_read() -> None:
    """JOBS_URL is named by the step that uses it, and the URL of an app without one comes from ZEROG_URL."""
    [step] = [step for step in _steps()["rehearse"] if "zerog" in step.get("run", "")]
    assert re.findall(r"\$(\w+)", step["run"]) == list(step["env"])
    assert [variable["name"] for variable in init_container()["env"]] == [URL_VARIABLE]
