"""``zerog jobs pause`` and ``resume``."""

from __future__ import annotations

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from tests.maintenance.doctors import doctor_of


def test_jobs_are_paused_shown_and_resumed(shop: Shop, zerog: Zerog) -> None:
    waiting, running = shop.submitted(), shop.running()
    result = zerog("jobs", "pause", "myapp:app", waiting, running, "--reason", "the disk is full", "--who", "ann")
    assert (result.exit_code, result.stdout) == (0, "1 job paused; 1 job asked to stop at the next write.\n")
    assert (shop.status(waiting), shop.status(running)) == ("paused", "running")
    assert "Paused" in zerog("jobs", "show", "myapp:app", waiting).stdout
    assert "by ann: the disk is full" in zerog("jobs", "show", "myapp:app", waiting).stdout
    assert "Pausing" in zerog("jobs", "show", "myapp:app", running).stdout
    assert waiting in zerog("jobs", "ls", "myapp:app", "--status", "paused", "--json").stdout
    assert zerog("jobs", "resume", "myapp:app", waiting, running).stdout == "2 jobs resumed.\n"
    assert (shop.status(waiting), shop.status(running)) == ("queued", "running")
    late = zerog("jobs", "resume", "myapp:app", waiting)
    assert (late.exit_code, "is queued and not paused" in late.stderr) == (1, True)


def test_filters_find_what_can_be_paused_and_resumed(shop: Shop, zerog: Zerog) -> None:
    uuids = [shop.submitted() for _ in range(3)]
    shop.ended()
    assert zerog("jobs", "pause", "myapp:app", "--type", "word_count", "--yes").stdout == "3 jobs paused.\n"
    assert zerog("jobs", "resume", "myapp:app", "--type", "word_count", "--limit", "2", "--yes").exit_code == 0
    assert sorted(map(shop.status, uuids)) == ["paused", "queued", "queued"]


def test_an_edit_of_a_paused_job_keeps_it_paused_and_a_cancel_ends_it(shop: Shop, zerog: Zerog) -> None:
    uuid = shop.submitted()
    shop.app.pause(uuid)
    assert shop.app.edit(uuid, {"path": "other"}, who="ann", reason="typo")
    assert shop.status(uuid) == "paused"
    zerog("jobs", "cancel", "myapp:app", uuid)
    assert shop.status(uuid) == "cancelled"


@pytest.mark.parametrize(("days", "needs_person"), [(1, False), (8, True)])
def test_doctor_names_the_longest_pause(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, days: int, needs_person: bool
) -> None:
    uuid, later = shop.submitted(), shop.submitted()
    shop.app.pause(uuid, "the disk is full", "ann")
    at = shop.app.progress(uuid)["paused"]["at"]
    shop.app.pause(later)
    monkeypatch.setattr("zerog.maintenance.paused_findings.LONG", 7 * 86_400.0 - days * 86_400)
    [finding] = [each for each in doctor_of(shop.app, "myapp:app").examine(0.0).findings if "paused" in each.what]
    assert finding.what == f"2 jobs are paused, the longest since {at} by ann: the disk is full"
    assert finding.command == f"zerog jobs resume myapp:app {uuid}"
    assert (finding.count, finding.needs_person) == (2, needs_person)
