"""When a process is known to be gone, and when nothing is known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.processes import output, program
from zerog.fleet import process_identity
from zerog.fleet.process_identity import identity, is_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="needs Linux")

PRINT = """
import json
from zerog.fleet.process_identity import identity
print(json.dumps(identity()), flush=True)
"""


def own(**changes: Any) -> dict[str, Any]:
    found = identity()
    assert found is not None
    return {**found, **changes}


def test_a_living_process_is_not_gone() -> None:
    assert not is_gone(own())
    with program(PRINT + "input()") as process:
        assert process.stdout is not None
        stored = json.loads(process.stdout.readline())
        assert stored["pid"] == process.pid
        assert not is_gone(stored)


def test_an_ended_process_is_gone() -> None:
    assert is_gone(json.loads(output(PRINT)))


def test_a_pid_that_was_given_to_another_process_does_not_stand_for_the_first() -> None:
    assert is_gone(own(started=own()["started"] - 1))


@pytest.mark.parametrize("change", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"boot": None}, {"namespace": None}])
def test_nothing_is_known_of_another_boot_or_namespace(change: dict[str, Any]) -> None:
    """Whether or not it has a process with that pid: the lease decides."""
    ended = json.loads(output(PRINT))
    assert not is_gone({**ended, **change})


@pytest.mark.parametrize("field", ["pid", "started"])
@pytest.mark.parametrize("value", [None, True, "1", 1.5, [], {}])
def test_a_damaged_identity_proves_nothing(field: str, value: Any) -> None:
    assert not is_gone({**json.loads(output(PRINT)), field: value})


@pytest.mark.parametrize("stored", [None, [], "x", {}, {"pid": 1}])
def test_what_is_no_identity_proves_nothing(stored: Any) -> None:
    assert not is_gone(stored)


@pytest.mark.parametrize("pid", [2**31, 2**63, -1, 0])
def test_an_impossible_pid_ends_nothing(pid: int) -> None:
    """Nor is a group of processes meant."""
    assert not is_gone(own(pid=pid))


def test_a_process_whose_files_are_hidden_is_not_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """``hidepid`` hides other users' processes; a signal to them is refused."""
    ended = json.loads(output(PRINT))

    def refused(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not is_gone(ended)


def test_a_system_without_proc_has_no_identities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = json.loads(output(PRINT))
    monkeypatch.setattr(process_identity, "PROC", tmp_path)
    assert identity() is None
    assert not is_gone(stored)
