"""``zerog roles``."""

from __future__ import annotations

import json

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog


def test_roles_are_set_listed_and_removed(shop: Shop, zerog: Zerog) -> None:
    result = zerog("roles", "set", "myapp:app", "heavy", "reports, exports")
    assert (result.exit_code, result.stdout) == (0, "Workers of the role heavy serve reports, exports.\n")
    [row] = zerog("roles", "myapp:app").stdout.splitlines()[1:]
    assert row.split()[:4] == ["heavy", "reports,", "exports", "0"]
    listed = json.loads(zerog("roles", "ls", "myapp:app", "--json").stdout)
    assert (listed["queues"], listed["workers"]) == (["reports", "exports"], 0)
    assert zerog("roles", "rm", "myapp:app", "heavy").stdout == "The role heavy is gone.\n"
    assert zerog("roles", "rm", "myapp:app", "heavy").stdout == "There was no role heavy.\n"


def test_wrong_roles_are_refused(shop: Shop, zerog: Zerog) -> None:
    for name, queues in (("heavy", "a,,b"), ("two words", "a"), ("heavy", "*")):
        result = zerog("roles", "set", "myapp:app", name, queues)
        assert (result.exit_code, "expected" in result.stderr) == (2, True)
    assert shop.app.fleet.settings.roles() == {}
