"""``zerog reconcile``, ``setup``, ``types`` and ``submit --wait``, and how commands end."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.cli.builders import Shop, without_app, zerog_command
from tests.cli.conftest import Zerog
from tests.processes import until
from zerog.cli.follow import follow
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key

BRIEF = WorkerIdentity("brief", 0.5)


def owned_by_the_dead(shop: Shop) -> str:
    """A job whose worker, with a lease of half a second, has sent its last heartbeat."""
    uuid = shop.submitted()
    WorkerRecords(shop.app.engine).renew(BRIEF, 1)
    [claim] = shop.app.engine.claim(1, BRIEF, shop.app.registry.load_head)
    assert claim.uuid == uuid
    return uuid


# reconcile


def test_one_sweep_prints_what_it_repaired(shop: Shop, zerog: Zerog) -> None:
    """A pending job is put on its queue; a second call finds nothing more."""
    uuid = shop.pending()
    first = zerog("reconcile", "myapp:app")
    assert (first.exit_code, first.stdout) == (0, f"{uuid}: put on its queue again\n")
    assert shop.app.queue.size() == 1
    assert zerog("reconcile", "myapp:app").stdout == "Nothing to repair.\n"


def test_a_silent_worker_takes_two_looks(shop: Shop, zerog: Zerog) -> None:
    """One sweep can't decide; --watch sweeps again after the lease. The record is removed with the worker."""
    uuid = owned_by_the_dead(shop)
    assert zerog("reconcile", "myapp:app").stdout == "Nothing to repair.\n"
    result = zerog("reconcile", "myapp:app", "--watch", "0.6")
    assert result.exit_code == 0
    assert f"{uuid}: taken from its worker, runs again" in result.stdout
    assert "worker brief is gone, its record was removed" in result.stdout
    assert shop.status(uuid) == "queued"
    assert WorkerRecords(shop.app.engine).directory() == {}


def test_a_sweep_for_scripts(shop: Shop, zerog: Zerog) -> None:
    """An object for each sweep."""
    uuid = shop.pending()
    result = zerog("reconcile", "myapp:app", "--watch", "0.1", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["put_again"], second["put_again"], first["stuck"]) == ([uuid], [], {})


def test_what_is_left_alone_needs_a_person(shop: Shop, zerog: Zerog) -> None:
    """Its reason is printed and the exit code is 1."""
    uuid = shop.pending()
    shop.app.datastore.update(make_key(uuid), {**(shop.app.datastore.read(make_key(uuid)) or {}), "priority": "x"})
    result = zerog("reconcile", "myapp:app")
    assert result.exit_code == 1
    assert f"{uuid}: left alone: " in result.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_reconcile_for_ever_ends_on_a_signal(shop: Shop, number: signal.Signals) -> None:
    """It repairs what appears while it runs; SIGTERM and Ctrl-C are a good end."""
    command = [sys.executable, "-m", "zerog", "reconcile", "myapp:app", "--every", "0.1"]
    process = subprocess.Popen(command, cwd=shop.folder, env=without_app(), stdout=subprocess.PIPE, text=True)
    with process:
        try:
            for _ in range(2):
                uuid = shop.pending()
                until(lambda uuid=uuid: shop.app.engine.read(uuid)[0]["queueState"] == "queued", what="not repaired")
            process.send_signal(number)
            printed, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert printed.count("put on its queue again") == 2


def test_reconcile_for_ever_survives_an_outage(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away for a while is reported, and tried again."""
    calls: list[int] = []

    def reconcile(self: object) -> Any:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        raise DatastoreUnavailable("no route")

    monkeypatch.setattr(type(shop.app), "reconcile", reconcile)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        result = zerog("reconcile", "myapp:app", "--every", "0.1")
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert (result.exit_code, len(calls), result.stderr.count("no route; trying again")) == (0, 3, 3)


# setup


def test_setup_prints_what_it_made_and_then_that_all_is_there(tmp_path: Path, shop: Shop) -> None:
    """Tables and indexes by name, once; nothing that was there is changed."""
    uuid = shop.ended()
    shop.close()
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("DROP INDEX zerog_by_due")
        database.execute("DROP TABLE zerog_rejected")
    database.close()
    first = zerog_command("setup", "myapp:app", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == ("datastore SqliteDatastore: made zerog_by_due.\nqueue SqliteQueue: made zerog_rejected.\n")
    again = zerog_command("setup", "myapp:app", folder=tmp_path)
    assert again.stdout == "datastore SqliteDatastore: all is there.\nqueue SqliteQueue: all is there.\n"
    assert shop.status(uuid) == "succeeded"


def test_setup_names_the_part_that_is_out_of_reach(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other part is set up all the same."""

    def unreachable(self: object) -> int:
        raise QueueUnavailable("no route to the queue")

    monkeypatch.setattr(type(shop.app.queue), "size", unreachable)
    result = zerog("setup", "myapp:app")
    assert (result.exit_code, result.stdout) == (1, "datastore SqliteDatastore: all is there.\n")
    assert result.stderr == "zerog: queue SqliteQueue: can't be used: no route to the queue\n"
    recorded = json.loads(zerog("setup", "myapp:app", "--json").stdout)
    assert [(part["part"], part["error"]) for part in recorded] == [
        ("datastore", None),
        ("queue", "no route to the queue"),
    ]


def test_setup_from_code(shop: Shop) -> None:
    """``App.setup`` does the same."""
    first = shop.app.setup()
    assert "zerog_documents" in first["datastore"]
    assert "zerog_queue" in first["queue"]
    assert shop.app.setup() == {"datastore": [], "queue": []}


# types


def test_types_are_listed(shop: Shop, zerog: Zerog) -> None:
    """Name, version and a line; with --schema the parameters; for scripts all of it."""
    listed = zerog("types", "myapp:app")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["TYPE", "refuse", "word_count"]
    assert "Count the words of a text." in listed.stdout
    assert '"required"' in zerog("types", "myapp:app", "--schema").stdout
    recorded = {entry["jobType"]: entry for entry in json.loads(zerog("types", "myapp:app", "--json").stdout)}
    assert set(recorded) == {"refuse", "word_count"}
    assert recorded["word_count"]["params"]["properties"]["path"]["type"] == "string"


# submit --wait


def test_submit_waits_for_the_end(shop: Shop) -> None:
    """The uuid alone is on standard output; the bar is beside it, and the exit code shows how it ended."""
    command = [sys.executable, "-m", "zerog", "worker", "myapp:app", "--log-level", "ERROR"]
    with subprocess.Popen(command, cwd=shop.folder, env=without_app()) as worker:
        try:
            good = zerog_command(
                *["submit", "myapp:app", "word_count", "path=war-and-peace.txt", "--wait", "--wait-timeout", "50"],
                folder=shop.folder,
            )
            bad = zerog_command("submit", "myapp:app", "refuse", "--wait", folder=shop.folder)
            many = json.dumps([{"path": "war-and-peace.txt"}] * 12)
            all_of_them = zerog_command(
                *["submit", "myapp:app", "word_count", "--json", "-", "--wait"], folder=shop.folder, text=many
            )
        finally:
            worker.terminate()
    assert (good.returncode, bad.returncode, all_of_them.returncode) == (0, 1, 0), good.stderr
    assert shop.status(good.stdout.strip()) == "succeeded"
    assert "succeeded" in good.stderr
    assert shop.status(bad.stdout.strip()) == "failed"
    assert len(all_of_them.stdout.split()) == 12
    assert "12 ended" in all_of_them.stderr


@pytest.mark.parametrize("number", [2, 12])
def test_one_that_failed_among_many_is_a_failure(shop: Shop, number: int) -> None:
    """With a bar each or one for all: exit code 0 is for all of them."""
    good = [shop.ended() for _ in range(number - 1)]
    quiet = Console(file=StringIO())
    assert follow(shop.app, good, quiet) == 0
    assert follow(shop.app, [shop.ended(500), *good], quiet) == 1


def test_submit_waits_no_longer_than_its_limit(shop: Shop, zerog: Zerog) -> None:
    """Exit code 4: the job is there and still runs."""
    result = zerog("submit", "myapp:app", "refuse", "--wait", "--wait-timeout", "0.1")
    uuid = result.stdout.split()[0]
    assert (result.exit_code, f"job {uuid} continues" in result.stderr) == (4, True)
    assert shop.status(uuid) == "queued"


def test_a_timeout_without_wait_is_refused(shop: Shop, zerog: Zerog) -> None:
    """Nothing is submitted then."""
    result = zerog("submit", "myapp:app", "refuse", "--wait-timeout", "5")
    assert (result.exit_code, "--wait" in result.stderr) == (2, True)
    assert list(shop.app.jobs()) == []


# how commands end


def test_a_closed_pipe_ends_quietly(shop: Shop) -> None:
    """As with ``| head``: nothing on standard error, exit code 141."""
    shop.app.submit_many("refuse", [{}] * 300)
    for arguments in (["--all"], ["--all", "--json"]):
        command = [sys.executable, "-m", "zerog", "jobs", "ls", "myapp:app", *arguments]
        process = subprocess.Popen(
            command, cwd=shop.folder, env=without_app(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(20) == 141


def test_a_connection_that_broke_is_no_closed_pipe(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server did to its socket isn't taken for a closed output."""

    def broken(self: object) -> None:
        raise BrokenPipeError("the server closed the connection")

    monkeypatch.setattr(type(shop.app), "reconcile", broken)
    with pytest.raises(BrokenPipeError):
        zerog("reconcile", "myapp:app")


def test_ctrl_c_is_130_without_a_traceback(shop: Shop) -> None:
    """A user who stops looking at a bar doesn't want to read Python."""
    uuid = shop.submitted()
    command = [sys.executable, "-m", "zerog", "progress", "myapp:app", uuid, "--follow"]
    read = shop.folder / "read"
    environment = without_app()
    with (shop.folder / "myapp.py").open("a") as source:
        source.write(f"\nlook = app.datastore.read_heads\ndef read(keys):\n    open({str(read)!r}, 'w').close()\n")
        source.write("    return look(keys)\napp.datastore.read_heads = read\n")
    process = subprocess.Popen(
        command, cwd=shop.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            until(read.exists, what="the command never looked at the job")
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, "")
    assert "Traceback" not in printed
    assert shop.status(uuid) == "queued"


def test_ctrl_c_at_the_very_start_is_130_too(tmp_path: Path) -> None:
    """While Python still loads the command's modules."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zerog.cli.main as m; m.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (130, "")


def test_the_exit_codes_stand_in_the_help(zerog: Zerog) -> None:
    """One table."""
    recorded = zerog("--help").stdout
    for code in (0, 1, 2, 3, 4, 130, 141):
        assert f" {code}  " in recorded


def test_waiting_for_several_jobs_shows_how_each_ended(shop: Shop) -> None:
    """Uuid, parameters, and output or reason, on standard error; the exit code is 1 if one of them failed."""
    given = json.dumps([{"path": "war-and-peace.txt"}, {"path": "missing.txt"}])
    with (shop.folder / "myapp.py").open("a") as source:
        source.write("\nWordCount.MAX_ERRORS = 1\n")
    with subprocess.Popen(
        [sys.executable, "-m", "zerog", "worker", "myapp:app", "--log-level", "ERROR"],
        cwd=shop.folder,
        env=without_app(),
        stderr=subprocess.DEVNULL,
    ) as worker:
        ended = zerog_command(
            "submit", "myapp:app", "word_count", "--json", "-", "--wait", folder=shop.folder, text=given
        )
        worker.terminate()
    good, bad = ended.stdout.split()
    lines = ended.stderr.splitlines()
    at = lines.index(f'{good} succeeded word_count path="war-and-peace.txt"')
    assert lines[at + 1] == '    {"words": 6}'
    at = lines.index(f'{bad} failed word_count path="missing.txt"')
    assert lines[at + 1].startswith("    500: FileNotFoundError: ")
    assert ended.returncode == 1
