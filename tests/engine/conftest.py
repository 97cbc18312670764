"""Fixtures of every test of engines."""

from __future__ import annotations

import pytest

from tests.backends.postgres import servers as postgres
from tests.backends.redis.servers import shared, valkey


@pytest.fixture(scope="session", autouse=True)
def started_server() -> None:
    """Start the shared servers before any test starts a program that will look for them and be killed."""
    if valkey() is not None:
        shared("valkey")
    if postgres.debian() is not None:
        postgres.shared()
