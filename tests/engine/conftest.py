"""What every test of engines finds there."""

from __future__ import annotations

import pytest

from tests.backends.redis.servers import shared, valkey


@pytest.fixture(scope="session", autouse=True)
def started_server() -> None:
    """The shared server runs before any test starts a program that will look for it and be killed."""
    if valkey() is not None:
        shared("valkey")
