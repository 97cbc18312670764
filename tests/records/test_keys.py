"""The one list of the documents that aren't jobs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import zerog
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.records.job import KEY_PREFIX, Document
from zerog.records.keys import KEYS, QUEUES, SCHEDULES, SCHEMAS, SETTINGS, TYPES, WORKERS, Role, stored_keys, worker_key

PACKAGE = Path(zerog.__file__).parent
DOCUMENT_TYPES = {"zerog_job", "zerog_worker"}
"""Values of ``documentType`` that are no whole key."""


class Quick(zerog.BaseJob):
    JOB_TYPE = "quick"

    def run(self) -> None: ...


def test_no_other_module_spells_a_key_out() -> None:
    """A key that only its own module has isn't found by what must read all documents."""
    beginnings = {kind.key for kind in KEYS} | {KEY_PREFIX}
    literal = re.compile(r"""["'](zerog_[a-z]+_?)""")
    for path in PACKAGE.rglob("*.py"):
        if path.name == "keys.py" or "testing" in path.parts:
            continue
        found = set(literal.findall(path.read_text())) & beginnings
        assert found <= DOCUMENT_TYPES, f"{path} spells out {found}; its key belongs to zerog/records/keys.py"


def test_keys_begin_differently() -> None:
    """So that a document is of one kind."""
    beginnings = [kind.key for kind in KEYS if kind.names_in or kind.names_of_job or kind.role is Role.INDEX]
    for kind in KEYS:
        others = [begin for begin in (*beginnings, KEY_PREFIX) if begin != kind.key]
        assert not [begin for begin in others if kind.key.startswith(begin)]


def test_stored_keys_names_single_documents_and_those_of_a_directory() -> None:
    store = MemoryDatastore()
    store.create(WORKERS, {"workers": {"bob": {"lease": 3}, "alice": {}}})
    assert set(stored_keys(store.read)) == {QUEUES, SCHEDULES, SCHEMAS, SETTINGS, TYPES}
    found = set(stored_keys(store.read, [Role.PRESENCE]))
    assert {WORKERS, worker_key("alice"), worker_key("bob")} <= found


@pytest.mark.parametrize("stored", [None, {}, {"workers": 7}, {"workers": [1, None]}])
def test_a_damaged_directory_names_nothing(stored: Document | None) -> None:
    store = MemoryDatastore()
    if stored is not None:
        store.create(WORKERS, stored)
    assert not [key for key in stored_keys(store.read, [Role.PRESENCE]) if key.startswith(worker_key(""))]


def test_an_installation_holds_no_other_documents() -> None:
    app = zerog.App("memory://")
    app.register(Quick)
    seen: set[str] = set()

    def note(verb: str) -> None:
        original = getattr(app.datastore, verb)

        def noted(key: str, *rest: Any, **options: Any) -> Any:
            seen.add(key)
            return original(key, *rest, **options)

        setattr(app.datastore, verb, noted)

    for verb in ("create", "set_with_cas", "mutate"):
        note(verb)
    app.submit(Quick)
    app.fleet.pause("other", "ann", "the disk")
    zerog.Worker(app).run(burst=True)
    assert {QUEUES, WORKERS} <= seen
    known = (KEY_PREFIX, *(kind.key for kind in KEYS))
    assert not [key for key in seen if not key.startswith(known)]
