"""``zerog migrate`` and ``zerog schema unused``, as an operator calls them after a deploy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import zerog as package
from tests.cli.builders import zerog_command
from tests.cli.rehearsal.builders import Deploy
from tests.cli.rehearsal.conftest import deploy, old  # noqa: F401
from tests.processes import until
from zerog.contracts.find import FindQuery
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Set


def versions(app: package.App) -> list[float]:
    return sorted(head["schemaVersion"] for head in app.datastore.find(FindQuery(job_type="invoice")).heads)


def test_the_way_of_a_migration(deploy: Deploy, old: package.App) -> None:  # noqa: F811
    """Needed; tried; done; unused."""
    ended = deploy.submitted(old)
    old.cancel(ended)
    deploy.submitted(old)
    unused = zerog_command("schema", "unused", "after:app", folder=deploy.folder)
    assert unused.stdout.splitlines()[1].split() == ["invoice", "1.0", "→", "2.0", "2,", "1", "unfinished"]
    trial = zerog_command("migrate", "after:app", "--dry-run", folder=deploy.folder)
    assert trial.stdout == "Nothing was written. 2 documents read, 2 would be migrated.\n"
    assert versions(old) == [1.0, 1.0]
    done = zerog_command("migrate", "after:app", folder=deploy.folder)
    assert (done.returncode, done.stdout) == (0, "2 documents read, 2 migrated.\n"), done.stderr
    assert versions(old) == [2.0, 2.0]
    [use] = json.loads(zerog_command("schema", "unused", "after:app", "--json", folder=deploy.folder).stdout)
    assert (use["unused"], use["documents"]) == (True, 0)


def test_a_living_older_worker_is_named(deploy: Deploy, old: package.App) -> None:  # noqa: F811
    """Nothing changes until it is gone, or the operator insists."""
    deploy.submitted(old)
    details = {"renewedAt": old.clock.now().isoformat(), "knows": [["invoice", 1.0]]}
    WorkerRecords(old.engine).renew(WorkerIdentity("web1-4711", 3600.0), 1, lambda: details)
    refused = zerog_command("migrate", "after:app", folder=deploy.folder)
    assert refused.returncode == 1
    assert "older workers are alive" in refused.stderr
    assert "web1-4711 takes invoice 1.0 at most. Stop them first. Or give --beside-older." in refused.stderr
    assert versions(old) == [1.0]
    assert zerog_command("migrate", "after:app", "--beside-older", folder=deploy.folder).returncode == 0
    assert versions(old) == [2.0]


def test_what_cant_be_read_makes_the_exit_code_1(deploy: Deploy, old: package.App) -> None:  # noqa: F811
    bad = deploy.submitted(old)
    old.datastore.mutate(make_key(bad), [Set("amount", "much")])
    deploy.submitted(old)
    done = zerog_command("migrate", "after:app", folder=deploy.folder)
    assert done.returncode == 1
    assert "2 documents read, 1 migrated, 1 can't be read: zerog rehearse names the reason." in done.stdout


def test_a_killed_migration_is_continued(deploy: Deploy, old: package.App, tmp_path: Path) -> None:  # noqa: F811
    """By the next call, as the same job: each document is lifted once."""
    count = 30
    for _ in range(count):
        deploy.submitted(old)
    command = [sys.executable, "-m", "zerog", "migrate", "after:app", "--rate", "10"]
    with (tmp_path / "migrate.log").open("wb") as log:
        first = subprocess.Popen(command, cwd=deploy.folder, env=dict(os.environ), stdout=log, stderr=log)
    until(lambda: 2.0 in versions(old), 60, "the first document is lifted")
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert versions(old).count(1.0) > 0
    tokens = {
        head["uuid"]: old.datastore.read_with_cas(make_key(head["uuid"]))[1]
        for head in old.datastore.find(FindQuery(job_type="invoice")).heads
        if head["schemaVersion"] == 2.0
    }
    done = zerog_command("migrate", "after:app", "--rate", "1000", folder=deploy.folder)
    assert done.returncode == 0, done.stderr
    assert versions(old) == [2.0] * count
    assert all(old.datastore.read_with_cas(make_key(uuid))[1] == token for uuid, token in tokens.items())
    [job] = old.jobs(job_type="zerog.migrate")
    assert (job["status"], job["attempts"]) == ("succeeded", 2)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["migrate", "after:app", "--type", "parcel"], 2, "parcel"),
        (["migrate", "after:app", "--rate", "0"], 2, "--rate"),
        (["migrate", "before:app"], 0, "0 documents read, 0 migrated."),
        (["schema", "unused", "before:app"], 0, "No migrations: no class of the app has one."),
    ],
)
def test_mistakes_and_nothing_to_do(arguments: list[str], code: int, words: str, deploy: Deploy) -> None:  # noqa: F811
    done = zerog_command(*arguments, folder=deploy.folder)
    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done.stderr
