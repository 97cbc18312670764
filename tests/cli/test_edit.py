"""Commands that change failed jobs: ``zerog jobs edit``, ``retry`` and ``rm`` by error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from zerog.app import App
from zerog.records.job import make_key
from zerog.records.operations import Set


def run(command: Zerog, *arguments: str) -> Any:
    return command("jobs", "edit", "myapp:app", *arguments)


def test_edit_by_command(shop: Shop, zerog: Zerog) -> None:
    """A dry run with its token, the edit under it, and a second one that is too late."""
    uuid = shop.ended(500)
    dry = run(zerog, uuid, "--set", "path=b.txt", "--reason", "typo", "--dry-run", "--json")
    shown = json.loads(dry.stdout)
    assert (shown["written"], shown["changed"]) == (False, {"path": {"old": "war-and-peace.txt", "new": "b.txt"}})
    under = ("--reason", "typo", "--cas", shown["cas"], "--who", "alice")
    done = run(zerog, uuid, "--set", "path=b.txt", "--retry", *under)
    assert (done.exit_code, done.stdout) == (0, 'path: "war-and-peace.txt" -> "b.txt"\nThe job was changed.\n')
    late = run(zerog, uuid, "--set", "path=c.txt", *under)
    assert (late.exit_code, "another client" in late.stderr) == (1, True)
    assert (shop.status(uuid), shop.app.get_job(uuid).path) == ("queued", "b.txt")  # type: ignore[attr-defined]
    assert shop.app.info(uuid)["events"][-1]["who"] == "alice"
    again = run(zerog, uuid, "--set", "path=b.txt", "--reason", "typo")
    assert again.stdout == "Nothing differs, so nothing was written.\n"
    words = run(zerog, uuid, "--set", "path=d.txt", "--reason", "typo", "--dry-run").stdout
    assert "Nothing was written. --cas " in words


def test_edit_from_a_file(shop: Shop, zerog: Zerog) -> None:
    """For values that no command line should hold; the event names the user of the shell."""
    uuid = shop.ended(500)
    (shop.folder / "new.json").write_text('{"path": "b.txt"}')
    assert run(zerog, uuid, "--params", "new.json", "--reason", "typo").exit_code == 0
    assert shop.app.info(uuid)["events"][-1]["who"]
    (shop.folder / "new.json").write_text("[1]")
    assert run(zerog, uuid, "--params", "new.json", "--reason", "typo").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reason", "typo"), "one of both"),
        (("--set", "path=x", "--params", "f", "--reason", "typo"), "one of both"),
        (("--set", "path", "--reason", "typo"), "expected KEY=VALUE"),
        (("--set", "path=x"), "--reason"),
        (("--set", "pfad=x", "--reason", "typo"), "pfad"),
        (("--set", "path=x", "--reason", ""), "expected a text"),
    ],
)
def test_a_wrong_edit_is_refused(shop: Shop, zerog: Zerog, arguments: Any, message: str) -> None:
    """Exit code 2, and the job stays as it was."""
    uuid = shop.ended(500)
    result = run(zerog, uuid, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert shop.app.info(uuid)["events"][-1]["msg"] == "looked"


def test_retry_and_rm_by_error(shop: Shop, zerog: Zerog) -> None:
    """Only the jobs whose last error fits; the list shows it."""
    fails, others = [shop.submitted(), shop.submitted()], shop.ended(500, "refuse")
    (shop.folder / "war-and-peace.txt").unlink()
    for uuid in fails:
        record = {
            "timestamp": "2026-01-01T00:00:00+00:00",
            "errorCode": 404,
            "type": "FileNotFoundError",
            "msg": "gone",
        }
        shop.app.datastore.mutate(make_key(uuid), [Set("lastError", record), Set("status", "failed")])
    listed = zerog("jobs", "ls", "myapp:app", "--errors", "--code", "404").stdout
    assert listed.count("[404] gone\n") == 2
    assert others not in listed
    recorded = zerog("jobs", "retry", "myapp:app", "--error", "FileNotFoundError", "--yes").stdout
    assert recorded == "2 jobs queued again.\n"
    assert shop.status(others) == "failed"
    gone = zerog("jobs", "rm", "myapp:app", "--code", "500", "--yes").stdout
    assert gone == "1 job removed.\n"


def test_a_job_that_ended_again_meanwhile_is_spared(
    shop: Shop,
    zerog: Zerog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by its error, it may have failed for another reason since; it is named, and the exit code is 1."""
    uuid = shop.ended(500)
    discard = type(shop.app).discard

    def slow(self: App, *args: Any, **kwargs: Any) -> None:
        shop.app.datastore.mutate(make_key(uuid), [Set("finishedAt", "2100-01-01T00:00:00+00:00")])
        discard(self, *args, **kwargs)

    monkeypatch.setattr(type(shop.app), "discard", slow)
    result = zerog("jobs", "rm", "myapp:app", "--status", "failed", "--yes")
    assert (result.exit_code, "again" in result.stderr) == (1, True)
    assert shop.status(uuid) == "failed"
