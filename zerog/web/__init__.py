"""The REST API: an ASGI application over an app or over the URL of its datastore."""

from __future__ import annotations

from zerog.web.application import asgi as asgi

__all__ = ["asgi"]
