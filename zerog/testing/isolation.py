"""Isolate an app that is configured for production from its datastore for the duration of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zerog.app import App
from zerog.resources import replaced
from zerog.testing.clock import ManualClock
from zerog.testing.reach import only


@contextmanager
def isolated(
    app: App, clock: ManualClock | None = None, *, resources: Mapping[str, Callable[[], Any]] | None = None
) -> Iterator[App]:
    """Yield ``app`` with an empty memory datastore and queue and a ``ManualClock``; restore it afterwards.

    Its classes and its middleware stay, and code that imported ``app`` uses the same object. ``resources``: factories
    in place of the app's own, by name; all are opened anew and closed at the end. Not for threads that continue to use
    the app's own datastore meanwhile. A job that uses another app that isn't in memory gets ConfigurationError.
    Raises ConfigurationError for a resource that isn't declared.
    """
    inner = App("memory://", clock=clock or ManualClock())
    adopt(inner, app, resources or {})
    before = dict(app.__dict__)
    app.__dict__.update(inner.__dict__)
    try:
        with only(app):
            yield app
    finally:
        inner.close()
        app.__dict__.clear()
        app.__dict__.update(before)


def adopt(inner: App, app: App, resources: Mapping[str, Callable[[], Any]]) -> None:
    """Give ``inner`` the classes, the middleware and the build of ``app``, and its resources, some of them replaced."""
    inner.registry, inner.build_id, inner.targets = app.registry, app.build_id, app.targets
    inner._middleware, inner._submit_middleware = app._middleware, app._submit_middleware
    inner.resources = replaced(app.resources, resources)
