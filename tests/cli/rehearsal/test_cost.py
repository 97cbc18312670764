"""What a rehearsal costs by the number of documents: reads by the page, one process, a message or two for each."""

from __future__ import annotations

import subprocess
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import pytest

import zerog
from tests.cli.rehearsal.builders import Deploy, rehearsed
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore
from zerog.query import PAGE

FEW = 20
"""Calls that the kinds of unfinished jobs need, however many jobs there are."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of calls by this process, by what they are."""
    counted: Counter[str] = Counter()

    def count(kind: Any, name: str) -> None:
        method = getattr(kind, name)

        def calling(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return method(*arguments, **options)

        monkeypatch.setattr(kind, name, calling)

    for name in ("find", "read_with_cas", "read_heads", "count"):
        count(SqliteDatastore, name)
    count(Datastore, "read")
    count(Connection, "send_bytes")
    count(Connection, "recv_bytes")
    count(subprocess.Popen, "__init__")
    return counted


@pytest.mark.parametrize(("code", "answers"), [("before", 1), ("after", 2)], ids=["as it is", "lifted"])
def test_a_thousand_documents_cost_few_reads(
    code: str, answers: int, deploy: Deploy, old: zerog.App, calls: Counter[str]
) -> None:
    """A page is one read; each document is sent once, and answered once, or twice if a migration may lose a value."""
    old.submit_many("invoice", [{"amount": 2.5}] * 1_000)
    calls.clear()
    report = rehearsed(f"{code}:app")
    assert (report["types"][0]["documents"], report["findings"]) == (1_000, [])
    assert calls["find"] <= 1_000 // PAGE + FEW
    assert calls["count"] <= FEW
    assert calls["read"] == calls["read_with_cas"] == calls["read_heads"] == 0
    assert calls["send_bytes"] == 1_000
    assert calls["recv_bytes"] == 1_000 * answers + 1
    assert calls["__init__"] == 1
