"""The files in ``examples/deploy``: valid where a tool can check, and in step with the command line and each other."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.acceptance.harness import ROOT
from zerog.cli.commands.worker import worker
from zerog.worker.settings import GRACE
from zerog.worker.supervisor import KILL_AFTER

DEPLOY = ROOT / "examples" / "deploy"
PAGE = (ROOT / "docs" / "deploying.md").read_text()


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"), strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "zerog-worker.service")
    return parser


def supervisord() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(DEPLOY / "supervisord.conf")
    return parser


def dockerfile() -> list[dict[str, str]]:
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"))
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]


def instruction(name: str) -> str:
    [value] = [step["value"] for step in dockerfile() if step["instruction"] == name]
    return value


def pod() -> Any:
    return yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())["spec"]["template"]["spec"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


COMMANDS = {
    "supervisord.conf": lambda: shlex.split(supervisord()["program:worker"]["command"]),
    "zerog-worker.service": lambda: shlex.split(unit()["Service"]["ExecStart"]),
    "Dockerfile": lambda: yaml.safe_load(instruction("CMD")),
}

STOP_SECONDS = {
    "supervisord.conf": lambda: seconds(supervisord()["program:worker"]["stopwaitsecs"]),
    "zerog-worker.service": lambda: seconds(unit()["Service"]["TimeoutStopSec"]),
    "compose.yaml": lambda: seconds(
        yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["stop_grace_period"]
    ),
    "kubernetes.yaml": lambda: pod()["terminationGracePeriodSeconds"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_are_ones_that_zerog_takes(name: str) -> None:
    program, command, *arguments = COMMANDS[name]()
    assert (Path(program).name, command) == ("zerog", "worker")
    context = worker.make_context("worker", arguments)
    assert context.params["app"] == "myapp:app"


@pytest.mark.parametrize("name", STOP_SECONDS)
def test_every_supervisor_has_more_patience_than_the_worker(name: str) -> None:
    """A worker may take its grace, and one with several processes some seconds more, before it is killed."""
    assert STOP_SECONDS[name]() > GRACE + KILL_AFTER


def test_the_unit_contains_what_the_worker_accepts(tmp_path: Path) -> None:
    """Parsed, and read by systemd itself where it is installed."""
    service = unit()["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
    assert seconds(service["WatchdogSec"]) > 30
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd-analyze here; the unit was only parsed")
    program = shlex.split(service["ExecStart"])[0]
    text = (DEPLOY / "zerog-worker.service").read_text().replace(program, sys.executable)
    (tmp_path / "zerog-worker.service").write_text(text)
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "zerog-worker.service")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_image_runs_the_worker_without_a_shell_and_without_root() -> None:
    """Only parsed: nothing here builds images."""
    names = [step["instruction"] for step in dockerfile()]
    assert names[0] == "FROM"
    assert yaml.safe_load(instruction("ENTRYPOINT")) == ["tini", "--"]
    assert int(instruction("USER")) == pod()["securityContext"]["runAsUser"] != 0
    for step in dockerfile():
        if step["instruction"] == "COPY" and not step["value"].startswith("zerog-"):  # the wheel is built beside it
            assert (DEPLOY / step["value"].split()[0]).is_file()


def test_every_probe_looks_at_the_file_that_the_worker_touches() -> None:
    [container] = pod()["containers"]
    probes = [container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")]
    check = yaml.safe_load(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert probes == [check] * 3
    _, _, *arguments = COMMANDS["Dockerfile"]()
    file = worker.make_context("worker", arguments).params["heartbeat"]
    assert f"find {file} " in check[2]


@pytest.mark.parametrize(("age", "code"), [(0, 0), (60, 0), (200, 1), (None, 1)])
def test_the_probe_distinguishes_a_young_file_from_an_old_one(age: int | None, code: int, tmp_path: Path) -> None:
    shell = yaml.safe_load(instruction("HEALTHCHECK").partition("CMD ")[2])
    file = tmp_path / "alive"
    if age is not None:
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    command = [word.replace("/tmp/zerog-alive", str(file)) for word in shell]
    assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == code


def test_what_runs_jobs_has_no_more_rights_than_it_needs() -> None:
    """As copied: no root, no new privileges, a read-only system, files for their user alone, and images pinned."""
    [container] = pod()["containers"]
    security = container["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert (
        pod()["securityContext"].items() >= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}.items()
    )
    assert pod()["automountServiceAccountToken"] is False
    _, _, *arguments = COMMANDS["Dockerfile"]()
    heartbeat = worker.make_context("worker", arguments).params["heartbeat"]
    assert str(heartbeat.parent) in [mount["mountPath"] for mount in container["volumeMounts"]]
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], [str(heartbeat.parent)])
    program = supervisord()["program:worker"]
    assert (program["user"], program["umask"], supervisord()["supervisord"]["umask"]) == ("myapp", "077", "077")
    assert (unit()["Service"]["User"], unit()["Service"]["UMask"]) == ("myapp", "0077")
    assert re.fullmatch(r".+@sha256:[0-9a-f]{64}", container["image"])
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", instruction("FROM"))


def test_no_text_installs_a_name_that_is_not_registered() -> None:
    """A stranger could register it and run code on every reader's machine; a checkout or a wheel of one is named."""
    folders = [path for name in ("docs", "examples", "zerog") for path in (ROOT / name).rglob("*") if path.is_file()]
    texts = {path.name: path.read_text() for path in [ROOT / "README.md", *folders] if path.suffix in _TEXTS}
    wrong = re.compile(r"pip install (?:-\S+ )*[\"']?zerog\b(?!-)")
    assert [name for name, text in texts.items() if wrong.search(text)] == []


_TEXTS = ("", ".md", ".py", ".conf", ".yaml", ".service", ".lua")


def test_kubernetes_takes_the_deployment() -> None:
    """Against the schema of its newest version, strictly; without a cluster."""
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(DEPLOY / "kubernetes.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr + result.stdout


def test_compose_names_what_is_there() -> None:
    """Only read: nothing here runs containers."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = document["services"]["worker"]
    assert (DEPLOY / service["build"] / "Dockerfile").is_file()
    volume, path = service["volumes"][0].split(":")
    assert volume in document["volumes"]
    assert service["environment"]["ZEROG_URL"].startswith(f"sqlite:///{path}/")


MONITORING = {"alerts.yaml", "grafana.json"}
"""What the page on metrics explains line by line, held against the metrics by tests of their own."""


def test_the_page_shows_every_file() -> None:
    """The docs include the files themselves, so they can't differ."""
    shown = set(re.findall(r"```\{literalinclude\} \.\./examples/deploy/(\S+)", PAGE))
    there = {file.name for file in DEPLOY.iterdir() if file.is_file()}
    assert shown == there - {"README.md"} - MONITORING
