"""An app that is configured for production, kept away from its datastore for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zerog.app import App
from zerog.testing.clock import ManualClock


@contextmanager
def isolated(app: App, clock: ManualClock | None = None) -> Iterator[App]:
    """``app`` with an empty memory datastore and queue and a clock that moves when told; as before afterwards.

    Its classes stay registered, and code that imported ``app`` uses the same object. Not for threads that go on using
    the app's own datastore meanwhile.
    """
    inner = App("memory://", clock=clock or ManualClock())
    before = dict(app.__dict__)
    app.__dict__.update({**inner.__dict__, "registry": app.registry})
    try:
        yield app
    finally:
        inner.close()
        app.__dict__.clear()
        app.__dict__.update(before)
