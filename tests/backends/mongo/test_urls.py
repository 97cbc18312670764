"""The options of a URL, and the defaults."""

from __future__ import annotations

import subprocess
import sys

import pymongo
import pymongo.errors
import pytest

import zerog
from tests.backends.mongo.servers import shared, started
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mongodb://shop:hunter2@localhost/db?colour=blue", "colour"),
        ("mongodb://shop:hunter2@localhost/db?serverSelectionTimeoutMS=soon", "serverSelectionTimeoutMS"),
        ("mongodb://shop:hunter2@localhost/db?w=0", "w=0"),
        ("mongodb://shop:hunter2@localhost/db?collection=", "can't be used"),
        ("mongodb://shop:hunter2@localhost/db?collection=a$b", "can't be used"),
        ("mongodb://shop:hunter2@localhost", "no database"),
        ("mongodb://shop:hunter2@localhost/", "no database"),
        ("mongodb://shop:hunter2@localhost/a.b", "no database"),
        ("mongodb://shop:hunter2@localhost/a b", "can't be used"),
        ("mongodb://shop:hunter2@localhost:port/db", "can't be used"),
        ("mongodb+srv://shop:hunter2@localhost:27017/db", "can't be used"),
        ("mongodb://shop:hun/ter2@localhost/db", "percent-encoded"),
        ("mongodb://shop:hun@ter2@localhost/db", "percent-encoded"),
        ("mongodb://shop:hun?ter2@localhost/db", "mongodb://…"),
        ("mongodb://localhost/db?authMechanism=X&authMechanismProperties=TOKEN:hunter2", "no valid URL"),
        (
            "mongodb://localhost/db?tls=true&tlsCertificateKeyFile=/none&tlsCertificateKeyFilePassword=hunter2",
            "no valid URL",
        ),
    ],
)
def test_a_wrong_url_is_refused_at_the_start(url: str, named: str) -> None:
    """The error names what is wrong and never the password, not even one that should have been encoded."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        zerog.App(datastore=url, queue="memory://")
    assert "hun" not in str(caught.value) and "ter2" not in str(caught.value)


def test_documents_need_a_queue_elsewhere() -> None:
    """One URL makes both parts of an app, and MongoDB has no queue: the error names what to write instead."""
    for url in ("mongodb://shop:hunter2@localhost/db", "mongodb+srv://shop:hunter2@localhost/db"):
        with pytest.raises(ConfigurationError, match=r"localhost/db.*queue=") as caught:
            zerog.App(url)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="names no queue"):
        zerog.App(datastore="memory://", queue="mongodb://localhost/db")


def test_nothing_of_mongodb_is_imported_before_its_url_is_used() -> None:
    code = "import sys, zerog; zerog.App('memory://'); sys.exit('pymongo' in sys.modules or 'bson' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_driver_names_the_extra() -> None:
    code = "import sys; sys.modules['pymongo'] = None; import zerog; zerog.App('mongodb://localhost/db')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install -e '.[mongodb]'" in ended.stderr.splitlines()[-1]


def test_the_url_decides_over_what_is_set_by_default() -> None:
    """A majority has what is answered and read, nothing is retried, everything ends in 5 s; or as the URL sets it."""
    usual = MongoDatastore("mongodb://localhost/db")
    options = usual.server._client().options
    assert usual.server.collection.write_concern.document == {"w": "majority", "j": True}
    assert usual.server.collection.read_concern.document == {"level": "majority"}
    assert (options.retry_writes, options.retry_reads) == (False, False)
    assert options.server_selection_timeout == options.pool_options.socket_timeout == 5
    assert options.pool_options.connect_timeout == options.pool_options.wait_queue_timeout == 5
    special = MongoDatastore(
        "mongodb://localhost/db?w=2&journal=false&retryWrites=true&socketTimeoutMS=900&serverSelectionTimeoutMS=100"
        "&readPreference=secondary"
    )
    options = special.server._client().options
    assert special.server.collection.write_concern.document == {"w": 2, "j": False}
    assert options.retry_writes is True
    assert (options.server_selection_timeout, options.pool_options.socket_timeout) == (0.1, 0.9)
    assert special.server.collection.read_concern.document == {}  # a majority may not have what was answered
    local = MongoDatastore("mongodb://localhost/db?readConcernLevel=local&w=majority")
    assert local.server.collection.read_concern.document == {"level": "local"}
    assert special.server.collection.read_preference == pymongo.ReadPreference.PRIMARY  # secondaries may lag


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "fsync"),
        ("?w=majority", "fsync"),
        ("?w=majority&journal=false", "1s"),
        ("?w=1", "process"),
        ("?w=1&journal=false", "process"),
        ("?w=tag", None),
    ],
)
def test_durability_on_a_replica_set(options: str, expected: str | None) -> None:
    """A failover may undo a write that only one member has, even if it is on that member's disk."""
    datastore = MongoDatastore(f"mongodb://127.0.0.1:{shared().port}/test{options}")
    assert datastore.durability == expected
    assert ("w=1," in datastore.about()) == ("w=1" in options)
    datastore.close()


def test_durability_on_a_server_alone() -> None:
    server = started("--standalone")
    for options, expected in (("?w=1", "fsync"), ("?w=1&journal=false", "1s"), ("", "fsync")):
        datastore = MongoDatastore(f"mongodb://127.0.0.1:{server.port}/test{options}")
        assert datastore.durability == expected
        assert "no replica set" in datastore.about()
        datastore.close()
    server.kill()
    gone = MongoDatastore(f"mongodb://127.0.0.1:{server.port}/test?w=1&serverSelectionTimeoutMS=100")
    assert gone.durability is None
    gone.close()
