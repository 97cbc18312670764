"""Commands over the URL of a datastore, where the job classes aren't installed."""

from __future__ import annotations

import json

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from zerog.support.urls import without_secrets


@pytest.fixture
def url(shop: Shop) -> str:
    return f"sqlite:///{shop.folder}/jobs.db"


def test_jobs_are_listed_shown_and_cancelled_without_their_classes(shop: Shop, zerog: Zerog, url: str) -> None:
    ended = shop.ended()
    waiting = shop.app.submit("word_count", {"path": "a"}, delay=3600).uuid
    listed = [json.loads(line) for line in zerog("jobs", "ls", url, "--json").stdout.splitlines()]
    assert [job["uuid"] for job in listed] == [ended, waiting]
    for command in (
        ["jobs", "show", url, ended],
        ["progress", url, ended],
        ["queues", url],
        ["workers", url],
        ["top", url],
    ):
        result = zerog(*command)
        assert (result.exit_code, result.stderr) == (0, "")
    assert zerog("jobs", "cancel", url, waiting).exit_code == 0
    assert shop.app.progress(waiting)["status"] == "cancelled"


def test_the_environment_may_name_a_url(shop: Shop, zerog: Zerog, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that is given wins, like an app that is given."""
    uuid = shop.ended()
    monkeypatch.setenv("ZEROG_APP", url)
    assert uuid in zerog("jobs", "ls", "--json").stdout
    assert "succeeded" in zerog("jobs", "show", uuid).stdout
    monkeypatch.setenv("ZEROG_APP", "absent:app")
    assert uuid in zerog("jobs", "ls", url, "--json").stdout


@pytest.mark.parametrize("command", [["submit"], ["worker"], ["doctor"], ["types", "ls"], ["jobs", "edit"]])
def test_a_command_that_needs_classes_refuses_a_url_without_its_password(zerog: Zerog, command: list[str]) -> None:
    result = zerog(*command, "redis://user:sesame@127.0.0.1:1/0")
    assert result.exit_code == 2
    assert "redis://127.0.0.1:1/0 is a URL, and " in result.stderr
    assert f"{' '.join(command)} needs the job classes; give MODULE:APP" in result.stderr
    assert "sesame" not in result.stderr


@pytest.mark.parametrize(
    "wrong",
    ["redis://:sesame@127.0.0.1:1/0", "sesame://host/0", "redis://:ses#ame@host/0", "memory://", "sqlite:///a/b.db"],
)
def test_a_url_that_can_not_be_used_is_named_without_its_secrets(zerog: Zerog, wrong: str) -> None:
    result = zerog("jobs", "ls", wrong)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr
    assert "ses#ame" not in result.stderr
    assert (":sesame" not in result.stderr) and without_secrets(wrong).partition("://")[0] in result.stderr
