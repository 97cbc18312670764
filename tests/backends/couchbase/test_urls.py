"""Couchbase's URLs, the sources of secrets, what is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import zerog
from tests.backends.couchbase.servers import PASSWORD_VARIABLE, shared
from zerog.backends.couchbase import url
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("couchbase://user:hunter2@host", "bucket"),
        ("couchbase://user:hunter2@host/bucket/scope", "scope/collection"),
        ("couchbase://host/bucket", "user@host"),
        ("couchbase://user:hunter2@host/bucket?colour=blue", "colour"),
        ("couchbase://user:hunter2@host/bucket?timeout=soon", "soon"),
        ("couchbase://user:hunter2@host/bucket?timeout=0", "timeout"),
        ("couchbase://user:hunter2@host/bucket?durability=yes", "persist_to_majority"),
        ("couchbase://user@host/bucket", PASSWORD_VARIABLE),
    ],
)
def test_a_wrong_url_is_refused_at_the_start(url: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is wrong and never user or password."""
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=named) as caught:
        zerog.App(datastore=url, queue="memory://")
    assert "hunter2" not in str(caught.value) and "couchbase://" in str(caught.value)


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without one reads it from there; nothing that prints the datastore's settings shows it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, "password")
    datastore = CouchbaseDatastore(shared().url(shared().new_collection(), password=""))
    datastore.create("key", {"a": 1})
    assert datastore.read("key") == {"a": 1}
    assert "'password'" not in repr(vars(datastore.server))
    datastore.close()


def test_a_url_is_taken_apart() -> None:
    address = url.parse(
        "couchbases://a%40b:p%2Fw@one:12000,two/my%20bucket/s/c?timeout=1.5&ca=/etc/ca.pem&network=external"
    )
    assert (address.name, address.user, address.password) == (
        "couchbases://one:12000,two/my%20bucket/s/c",
        "a@b",
        "p/w",
    )
    assert (address.hosts, address.bucket, address.scope, address.collection) == (
        "one:12000,two",
        "my bucket",
        "s",
        "c",
    )
    assert (address.timeout, address.ca, address.network) == (1.5, "/etc/ca.pem", "external")


def test_a_couchbase_url_names_no_queue() -> None:
    """It takes a second part; the error names that rather than an unknown URL."""
    with pytest.raises(ConfigurationError, match="has no queue"):
        zerog.App("couchbase://user:hunter2@host/bucket")


def test_nothing_of_couchbase_is_imported_before_its_url_is_used() -> None:
    code = "import sys, zerog; zerog.App('memory://'); sys.exit('couchbase' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['couchbase'] = None; import zerog\n"
        "zerog.App(datastore='couchbase://u:p@localhost/b', queue='memory://')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install -e '.[couchbase]'" in ended.stderr.splitlines()[-1]
