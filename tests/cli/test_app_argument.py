"""The app of a command: the first argument, or ZEROG_APP."""

from __future__ import annotations

import pytest

from tests.cli.builders import Shop, zerog_command
from tests.cli.conftest import Zerog


def test_the_environment_names_the_app(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ZEROG_APP every command works without its first argument, wherever its options are."""
    uuid = shop.ended()
    monkeypatch.setenv("ZEROG_APP", "myapp:app")
    for arguments in (
        ["jobs", "ls", "--status", "succeeded"],
        ["jobs", "show", uuid],
        ["jobs", "show", "--no-history", uuid],
        ["progress", uuid],
        ["doctor"],
        ["reconcile"],
        ["setup"],
        ["types", "--schema"],
        ["submit", "refuse"],
        ["submit", "--priority", "3", "word_count", "path=a:b"],
        ["jobs", "cancel", "--type", "refuse", "--yes"],
    ):
        result = zerog(*arguments)
        assert result.exit_code == (1 if arguments == ["doctor"] and "A person" in result.stdout else 0), result.stderr
        assert "Usage" not in result.stderr


def test_the_argument_wins(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is named is taken, whatever the environment has."""
    shop.ended()
    monkeypatch.setenv("ZEROG_APP", "absent:app")
    assert "succeeded" in zerog("jobs", "ls", "myapp:app").stdout
    assert "succeeded" in zerog("jobs", "ls", "--limit", "3", "myapp:app").stdout
    result = zerog("jobs", "ls")
    assert (result.exit_code, "no module absent" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "first", ["my-app:app", "myapp", "myapp:", ":app", "my app:app", "1app:app", "a:b:c", "a..b:c"]
)
def test_what_does_not_look_like_an_app_is_not_taken_for_one(
    zerog: Zerog, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ZEROG_APP set it is the next argument; without, the error names both ways to choose an app."""
    result = zerog("progress", first)
    assert result.exit_code == 2
    for words in (repr(first), "MODULE:APP first", "set ZEROG_APP=myapp:app"):
        assert words in result.stderr
    monkeypatch.setenv("ZEROG_APP", "myapp:app")
    result = zerog("progress", first)
    assert (result.exit_code, "is no job uuid" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [["jobs", "ls"], ["jobs", "rm"], ["worker"], ["submit"], ["doctor"], ["reconcile"], ["types", "ls"]]
)
def test_neither_is_2_and_names_both_ways(shop: Shop, zerog: Zerog, command: list[str]) -> None:
    """For every command; its help still works."""
    result = zerog(*command)
    assert result.exit_code == 2
    assert "no app was named and ZEROG_APP is not set" in result.stderr
    assert f" {' '.join(command)} myapp:app, or set ZEROG_APP=myapp:app." in result.stderr
    assert zerog(*command, "--help").exit_code == 0


def test_a_wrong_environment_is_named(zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the source of the wrong name."""
    monkeypatch.setenv("ZEROG_APP", "myapp")
    result = zerog("jobs", "ls")
    assert (result.exit_code, "ZEROG_APP is 'myapp'" in result.stderr) == (2, True)


def test_an_app_in_a_package(shop: Shop, zerog: Zerog) -> None:
    """Names joined by dots are a module."""
    package = shop.folder / "shopping"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "jobs.py").write_text("import zerog\nqueue_app = zerog.App('sqlite:///jobs.db')\n")
    assert zerog("jobs", "ls", "shopping.jobs:queue_app").stdout == "No jobs.\n"


@pytest.mark.parametrize(
    "command",
    [["jobs", "ls"], ["jobs", "cancel"], ["submit"], ["doctor"], ["reconcile"], ["setup"], ["progress"]],
)
def test_jobs_in_one_process_s_memory_are_no_command_s(shop: Shop, zerog: Zerog, command: list[str]) -> None:
    """A uuid that can never be found again would look like success."""
    (shop.folder / "memoryapp.py").write_text("import zerog\napp = zerog.App('memory://')\n")
    more = {"submit": ["word_count"], "progress": ["0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"]}.get(command[0], [])
    result = zerog(*command, "memoryapp:app", *more)
    assert (result.exit_code, "in the memory of each process" in result.stderr) == (2, True), result.stderr
    assert zerog("types", "memoryapp:app").exit_code == 0


def test_a_worker_on_one_process_s_memory_is_refused(shop: Shop) -> None:
    """No client can submit to it."""
    (shop.folder / "memoryapp.py").write_text("import zerog\napp = zerog.App('memory://')\n")
    result = zerog_command("worker", "memoryapp:app", "--burst", folder=shop.folder)
    assert (result.returncode, "in the memory of each process" in result.stderr) == (2, True), result.stderr
