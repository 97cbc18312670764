"""An error that repeats under a build is a finding of doctor, with the commands that keep it from costing more."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zerog
from zerog.cli.root import cli
from zerog.maintenance.doctor import Doctor
from zerog.maintenance.findings import Finding


class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"
    MAX_ERRORS = 1

    def run(self) -> Any:
        raise ValueError("broken")


class Letter(Invoice):
    JOB_TYPE = "letter"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as made:
        made.register(Invoice, Letter)
        yield made


def failed(app: zerog.App, number: int, build: str | None, job_type: str = "invoice") -> list[str]:
    uuids = [app.submit(job_type).uuid for _ in range(number)]
    zerog.Worker(app, build_id=build).run(burst=True)
    app.build_id = None
    return uuids


def found(app: zerog.App) -> list[Finding]:
    findings = Doctor(app.engine, app.registry, app.fleet, "myapp:app").examine(0.0).findings
    return [finding for finding in findings if "failed with the same" in finding.what]


def test_what_a_build_has_broken_is_named_with_the_hold(app: zerog.App) -> None:
    """Another type isn't, nor one failure fewer."""
    uuids = failed(app, 3, "42")
    failed(app, 2, "42", "letter")
    [finding] = found(app)
    assert finding.what == "jobs of type invoice failed with the same ValueError, under build 42"
    assert sorted(finding.jobs) == sorted(uuids)
    assert finding.command == "zerog types hold myapp:app --reason 'build 42 fails' invoice"
    assert "zerog jobs retry myapp:app --type invoice --error " in finding.mend
    assert finding.needs_person is False


def test_a_deploy_that_didnt_mend_it_is_named(app: zerog.App) -> None:
    failed(app, 1, "41")
    failed(app, 3, "42")
    assert [finding.what.endswith("under build 42, as under 41 before") for finding in found(app)] == [True]


def test_a_held_type_gets_the_retry_which_works(
    app: zerog.App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command can be pasted, and takes those jobs and no others."""
    others = failed(app, 1, "41")
    uuids = failed(app, 3, "42")
    app.fleet.types.hold("invoice")
    [finding] = found(app)
    assert finding.command is not None
    (tmp_path / "myapp.py").write_text(
        "from tests.maintenance.test_repeated_errors import Invoice, Letter\nimport zerog\n"
        f"app = zerog.App('sqlite:///{tmp_path}/jobs.db')\napp.register(Invoice, Letter)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(cli, [*shlex.split(finding.command)[1:], "--yes"], catch_exceptions=False)
    assert result.exit_code == 0
    assert {app.progress(uuid)["status"] for uuid in uuids} == {"queued"}
    assert [app.progress(uuid)["status"] for uuid in others] == ["failed"]


def test_without_a_build_there_is_no_finding(app: zerog.App) -> None:
    failed(app, 5, None)
    assert found(app) == []
