"""URLs as they are shown."""

from __future__ import annotations

import traceback
from itertools import product

import pytest

from tests.hostile import LOGINS, PASSWORDS
from tests.marks import wide
from zerog.backends.urls import DATASTORES, PACKAGES, open_datastore, open_queue
from zerog.exceptions import ConfigurationError
from zerog.support.urls import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://alice:s3cret@host:6379/0?prefix=shop", "redis://host:6379/0"),
        ("postgresql://alice:s3cret@host:5432/db?schema=shop", "postgresql://host:5432/db"),
        ("rediss://:s3cret@host/0", "rediss://host/0"),
        ("redis://:s3/cret@host/0", "redis://host/0"),
        ("redis://:s3@cret@host/0", "redis://host/0"),
        ("mongodb://alice:s3?cret@host/jobs", "mongodb://…"),
        ("mongodb://host/jobs?password=s3cret", "mongodb://host/jobs"),
        ("unix://:s3cret@/run/redis.sock?db=0", "unix:///run/redis.sock"),
        ("unix:///run/of@ice.sock", "unix:///…"),
        ("sqlite:////home/ann@work/jobs.db?synchronous=normal", "sqlite:////home/ann@work/jobs.db"),
        ("memory://", "memory://"),
        ("jobs.db", "'jobs.db'"),
        ("localhost:6379", "'localhost:6379'"),
        ("redis://localhost:6379,other:1/0", "redis://localhost:6379,other:1/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("mongodb://%2Frun%2Fmongo.sock/jobs", "mongodb://%2Frun%2Fmongo.sock/jobs"),
        ("redis://alice:s3cret", "redis://…"),
        ("unix:///:s3cret@/run/redis.sock", "unix:///…"),
    ],
)
def test_nothing_secret_is_shown(url: str, shown: str) -> None:
    """User, password and options are removed, well-formed or not; what identifies the server or file stays."""
    assert without_secrets(url) == shown


SCHEMES = [scheme for schemes in PACKAGES.values() for scheme in schemes if scheme not in ("memory", "sqlite")]


def secrets(text: str) -> str:
    return "hunter2" if "hunter2" in text else ""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_name_shows_a_password(scheme: str) -> None:
    """Whatever characters are before and behind the rest of it."""
    for login, before, behind in product(LOGINS, PASSWORDS, PASSWORDS):
        url = login.format(scheme=scheme, password=f"{before}hunter2{behind}")
        assert not secrets(without_secrets(url)), url


@pytest.mark.parametrize("scheme", ["redis", "couchbase", "mongodb", "beanstalkd", "nosuch", *wide(*SCHEMES)])
def test_no_error_shows_a_password(scheme: str) -> None:
    """However a URL was mistyped: neither the error nor the traceback contain any of its password."""
    for login, sign in product(LOGINS, PASSWORDS):
        url = login.format(scheme=scheme, password=f"hunter2{sign}hunter2")
        try:
            shown = repr(open_datastore(url) if scheme in DATASTORES else open_queue(url))
        except ConfigurationError as error:
            shown = f"{error} {''.join(traceback.format_exception(error))}"
        assert not secrets(shown), url


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/shop",
        "redis://localhost/0/1",
        "redis://localhost/1?db=2",
        "redis://localhost/0?prefix=a&prefix=b",
        "redis://localhost/0#1",
        "unix://?db=1",
        "sqlite:///a#b.db",
        "sqlite:///what?.db",
        "memory://shop",
        "couchbase://u:p@h/b#c",
        "mongodb://localhost/db#c",
    ],
)
def test_no_part_of_a_url_is_cut_in_silence(url: str) -> None:
    """A part that would be ignored, or one of two that differ, is refused where the app is made."""
    with pytest.raises(ConfigurationError, match="://"):
        open_datastore(url)
