"""Helpers for the tests of MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

import zerog
from tests.backends.mongo.proxy import Proxy
from tests.backends.mongo.servers import with_options

ON_BOTH = pytest.mark.parametrize("datastore", ["secantus", "mongomock"], indirect=True)
"""Runs a test on the stand-in server and on mongomock."""

OWNED: dict[str, Any] = {"epoch": 1, "seq": 0, "owner": {"worker": "w", "nonce": "n"}, "n": 0, "events": []}


class Count(zerog.BaseJob):
    JOB_TYPE = "count"

    def run(self) -> dict[str, int]:
        for n in range(3):
            self.record_event(f"step {n}")
            self.update_attrs(completeness=n / 3)
        return {"steps": 3}


NOW = "2026-01-01T00:00:00.000000+00:00"


def behind(proxy: Proxy, **options: object) -> str:
    """A URL of the shared server by way of the proxy."""
    return with_options(f"mongodb://127.0.0.1:{proxy.port}/test?directConnection=true", **options)


def refused(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make every operation on a collection raise this error."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("find_one", "find_one_and_update", "insert_one", "replace_one"):
        monkeypatch.setattr(f"pymongo.collection.Collection.{name}", refuse)
