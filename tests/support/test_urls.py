"""URLs as they are shown."""

from __future__ import annotations

import pytest

from zerog.support.urls import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://alice:s3cret@host:6379/0?prefix=shop", "redis://host:6379/0"),
        ("rediss://:s3cret@host/0", "rediss://host/0"),
        ("redis://:s3/cret@host/0", "redis://host/0"),
        ("redis://:s3@cret@host/0", "redis://host/0"),
        ("mongodb://alice:s3?cret@host/jobs", "mongodb://…"),
        ("mongodb://host/jobs?password=s3cret", "mongodb://host/jobs"),
        ("unix://:s3cret@/run/redis.sock?db=0", "unix:///run/redis.sock"),
        ("unix:///run/of@ice.sock", "unix:///run/of@ice.sock"),
        ("sqlite:////home/ann@work/jobs.db?synchronous=normal", "sqlite:////home/ann@work/jobs.db"),
        ("memory://", "memory://"),
    ],
)
def test_nothing_secret_is_shown(url: str, shown: str) -> None:
    """User, password and options are removed, well-formed or not; what identifies the server or file stays."""
    assert without_secrets(url) == shown
