"""``zerog queues set``: limits of a queue."""

from __future__ import annotations

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog


def test_limits_are_set_kept_and_removed(shop: Shop, zerog: Zerog) -> None:
    """The list has a column for them only if there are any."""
    assert "LIMITS" not in zerog("queues", "myapp:app").stdout
    result = zerog("queues", "set", "myapp:app", "slow", "--max-running", "5", "--rate", "100/hour")
    assert (result.exit_code, result.stdout) == (0, "Queue slow: 5 at once, 100/hour.\n")
    assert zerog("queues", "set", "myapp:app", "slow", "--max-waiting", "10000", "--rate", "none").stdout == (
        "Queue slow: 5 at once, 10,000 waiting.\n"
    )
    shown = zerog("queues", "myapp:app").stdout
    assert "LIMITS" in shown
    assert "5 at once, 10,000 waiting" in shown
    removed = zerog("queues", "set", "myapp:app", "slow", "--max-waiting", "none", "--max-running", "none")
    assert removed.stdout == "Queue slow: no limits.\n"
    assert shop.app.fleet.settings.queues() == {}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "give max_running, rate or max_waiting"),
        (("--rate", "often"), "for example '100/hour'"),
        (("--max-running", "0"), "expected a whole number from 1"),
        (("--max-running", "-1"), "neither a whole number nor none"),
        (("--max-waiting", "many"), "neither a whole number nor none"),
    ],
)
def test_wrong_limits_are_refused(shop: Shop, zerog: Zerog, options: tuple[str, ...], why: str) -> None:
    result = zerog("queues", "set", "myapp:app", "slow", *options)
    assert (result.exit_code, why in result.stderr) == (2, True)
    assert shop.app.fleet.settings.queues() == {}
