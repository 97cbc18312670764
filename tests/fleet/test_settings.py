"""Live settings: limits of queues and queues of roles, in one document that operators change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.engine.engines import EACH_KIND, KINDS
from tests.maintenance.doctors import doctor_of
from zerog.exceptions import AmbiguousWrite, CorruptDocument, InvalidValue
from zerog.fleet.settings import LiveSettings
from zerog.records.keys import SETTINGS
from zerog.records.settings import QueueLimits, Rate, read_settings
from zerog.testing.clock import ManualClock


@pytest.fixture
def app() -> zerog.App:
    return zerog.App("memory://", clock=ManualClock())


@pytest.mark.parametrize("kind", EACH_KIND)
def test_what_is_set_is_read_by_workers_and_clients(kind: str, tmp_path: Path) -> None:
    """On every engine; what isn't given stays, and None removes."""
    engine = KINDS[kind].open(tmp_path, ManualClock())
    settings = LiveSettings(engine)
    settings.set_queue("reports", max_running=5, rate="100/hour", by="ann")
    settings.set_queue("reports", max_waiting=10_000, max_running=None)
    settings.set_role("heavy", ["reports", "exports", "reports"])
    found = read_settings(engine.datastore)
    assert found.queues == {"reports": QueueLimits(None, Rate(100, 3_600), 10_000)}
    assert found.roles == {"heavy": ("reports", "exports")}
    assert settings.set_queue("reports", rate=None, max_waiting=None) == {}
    assert settings.remove_role("heavy")
    assert not settings.remove_role("heavy")
    assert read_settings(engine.datastore) == ({}, {})
    engine.close()


def test_limits_are_shown_with_their_author_and_of_queues_that_nothing_else_names(app: zerog.App) -> None:
    app.fleet.settings.set_queue("reports", max_running=5, by="ann")
    shown = {queue["name"]: queue["limits"] for queue in app.fleet.queues()}
    since = "2026-01-01T00:00:00.000000+00:00"
    assert shown == {"default": None, "reports": {"maxRunning": 5, "since": since, "by": "ann"}}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"max_running": 0},
        {"max_running": True},
        {"max_waiting": 2.5},
        {"max_waiting": -1},
        {"rate": "100"},
        {"rate": "0/hour"},
        {"rate": "5/week"},
        {"rate": "-5/hour"},
        {"rate": 5},
        {"max_running": 5, "by": 7},
    ],
)
def test_wrong_limits_are_refused_and_nothing_is_stored(app: zerog.App, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"expected|give max_running"):
        app.fleet.settings.set_queue("reports", **given)
    assert app.datastore.read(SETTINGS) is None


@pytest.mark.parametrize("queue", ["", "*", "a,b", 7])
def test_wrong_names_of_queues_are_refused(app: zerog.App, queue: Any) -> None:
    with pytest.raises(InvalidValue):
        app.fleet.settings.set_queue(queue, max_running=5)
    with pytest.raises(InvalidValue):
        app.fleet.settings.set_role("heavy", [queue])


@pytest.mark.parametrize(
    ("role", "queues"), [("", ["a"]), ("a b", ["a"]), ("a,b", ["a"]), ("heavy", []), ("heavy", "a")]
)
def test_wrong_roles_are_refused(app: zerog.App, role: str, queues: Any) -> None:
    with pytest.raises(InvalidValue):
        app.fleet.settings.set_role(role, queues)
    assert app.datastore.read(SETTINGS) is None


@pytest.mark.parametrize("text", ["1/second", "60/minute", "100/hour", "5/day"])
def test_a_rate_is_read_as_it_is_written(text: str) -> None:
    assert str(Rate.read(text)) == text


@pytest.mark.parametrize(
    "damage",
    [
        {"queues": 7},
        {"queues": {"a": {"maxRunning": "5"}}},
        {"queues": {"a": {"rate": "often"}}},
        {"roles": {"heavy": {"queues": "a"}}},
    ],
)
def test_a_damaged_document_is_named_by_doctor_and_made_anew(app: zerog.App, damage: dict[str, Any]) -> None:
    app.datastore.create(SETTINGS, {"documentType": SETTINGS, **damage})
    with pytest.raises(CorruptDocument, match=SETTINGS):
        read_settings(app.datastore)
    assert app.fleet.settings.queues() == app.fleet.settings.roles() == {}
    [finding] = [each for each in doctor_of(app, "myapp:app").examine(0.0).findings if "live settings" in each.what]
    assert (finding.command, finding.needs_person) == ("zerog roles rm myapp:app none", True)
    app.fleet.settings.remove_role("none")
    assert read_settings(app.datastore) == ({}, {})
    app.fleet.settings.set_queue("a", max_running=5)
    assert read_settings(app.datastore).queues["a"].max_running == 5


def test_a_change_whose_answer_was_lost_is_made_once(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.fleet.settings.set_queue("reports", max_running=5)
    original, lost = app.datastore.set_with_cas, [True]

    def set_with_cas(*arguments: Any) -> Any:
        done = original(*arguments)
        if lost:
            lost.clear()
            raise AmbiguousWrite("the answer was lost")
        return done

    monkeypatch.setattr(app.datastore, "set_with_cas", set_with_cas)
    assert app.fleet.settings.set_queue("exports", rate="1/second")["rate"] == "1/second"
    assert read_settings(app.datastore).queues.keys() == {"reports", "exports"}


def test_two_changes_at_once_both_hold(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    original, first = app.datastore.set_with_cas, [True]

    def set_with_cas(*arguments: Any) -> Any:
        if first:
            first.clear()
            app.fleet.settings.set_role("heavy", ["exports"])
        return original(*arguments)

    monkeypatch.setattr(app.datastore, "set_with_cas", set_with_cas)
    app.fleet.settings.set_queue("reports", max_running=5)
    found = read_settings(app.datastore)
    assert (found.queues.keys(), found.roles) == ({"reports"}, {"heavy": ("exports",)})
