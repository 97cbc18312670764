"""URLs, logins, tables and troubles of a PostgreSQL server: each an error of one line that names cause and remedy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.backends.postgres.servers import PASSWORD, RunningServer, new_schema, shared, started
from tests.forks import in_a_fork
from tests.servers import free_port
from zerog.backends.postgres import tables
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.queue import PostgresQueue
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable, QueueUnavailable, ZerogError
from zerog.records.job import new_uuid
from zerog.records.operations import Add, Append, Set


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("debian")
    yield server
    server.kill()


def failure(url: str) -> ZerogError:
    """The error of the first call, which has one line and no secret."""
    datastore = PostgresDatastore(url)
    with pytest.raises(ZerogError) as caught:
        datastore.read("key")
    datastore.close()
    text = str(caught.value)
    assert PASSWORD not in text and "wrong" not in text and "\n" not in text
    return caught.value


# URLs.


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://u:{PASSWORD}@h/db?schema=A-b", "schema 'A-b'"),
        (f"postgresql://u:{PASSWORD}@h/db?timeout=never", "timeout 'never'"),
        (f"postgresql://u:{PASSWORD}@h/db?colour=red", "colour"),
        (f"postgresql://u:{PASSWORD}%zz@h/db", "libpq"),
    ],
)
def test_wrong_urls(url: str, words: str) -> None:
    """They fail when they are opened, without their password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        PostgresDatastore(url)
    assert PASSWORD not in str(caught.value)


# Logins and hosts.


def test_wrong_password() -> None:
    error = failure(shared().url(login="postgres:wrong"))
    assert isinstance(error, ConfigurationError) and "refuses this user or password" in str(error)


def test_missing_database() -> None:
    error = failure(shared().url(database="nowhere"))
    assert isinstance(error, ConfigurationError) and "no such database" in str(error)


def test_missing_host() -> None:
    error = failure(f"postgresql://u:{PASSWORD}@nowhere.invalid/db")
    assert isinstance(error, ConfigurationError) and "no such host" in str(error)


def test_no_server() -> None:
    """An outage, which may end."""
    error = failure(f"postgresql://u:{PASSWORD}@127.0.0.1:{free_port()}/db")
    assert isinstance(error, DatastoreUnavailable) and "can't be reached" in str(error)


def test_a_database_in_another_encoding(own: RunningServer) -> None:
    with own.connect() as connection:
        connection.execute("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0")
    error = failure(own.url(database="old"))
    assert isinstance(error, ConfigurationError) and "LATIN1" in str(error)


# Tables.


def test_a_schema_that_is_a_word_of_sql(own: RunningServer) -> None:
    datastore, queue = PostgresDatastore(own.url("user")), PostgresQueue(own.url("user"))
    datastore.create("key", {"a": 1, "events": [1]})
    queue.put(new_uuid())
    assert datastore.read("key") == {"a": 1, "events": [1]} and queue.reserve() is not None
    datastore.close()
    queue.close()


def test_a_user_who_may_not_make_tables() -> None:
    """The error names the command; once another user has run it and granted what is needed, all works."""
    server, schema = shared(), new_schema()
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {schema} LOGIN PASSWORD '{PASSWORD}'".encode())
        url = server.url(schema, login=f"{schema}:{PASSWORD}")
        error = failure(url)
        assert isinstance(error, ConfigurationError) and "zerog setup" in str(error)
        assert PostgresDatastore(server.url(schema)).setup() == [
            f"schema {schema}",
            f"tables of {schema}, version {tables.VERSION}",
        ]
        error = failure(url)
        assert isinstance(error, ConfigurationError) and "permission denied" in str(error)
        for what in (f"USAGE ON SCHEMA {schema}", f"SELECT ON ALL TABLES IN SCHEMA {schema}"):
            connection.execute(f"GRANT {what} TO {schema}".encode())
        datastore = PostgresDatastore(url)
        assert datastore.read("key") is None
        with pytest.raises(DatastoreUnavailable, match="permission denied"):
            datastore.create("key", {"a": 1})
        for what in ("INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
            connection.execute(f"GRANT {what} IN SCHEMA {schema} TO {schema}".encode())
        datastore.create("key", {"a": 1, "events": [1]})
        assert datastore.read("key") == {"a": 1, "events": [1]}
        datastore.close()


def test_tables_are_upgraded_beside_users_of_the_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first use of newer code; older code goes on, and many processes that start at once take turns."""
    url = shared().url()
    older = PostgresDatastore(url)
    older.create("key", {"a": 1})
    step = "ALTER TABLE {schema}.zerog_documents ADD COLUMN later text"
    monkeypatch.setattr(tables, "STEPS", [*tables.STEPS, step])
    monkeypatch.setattr(tables, "VERSION", len(tables.STEPS))
    newer = PostgresDatastore(url)
    assert newer.setup() == [f"tables of {newer.server.schema}, version {tables.VERSION}"]
    assert newer.setup() == []
    newer.server.read("SELECT later FROM {schema}.zerog_documents", {}, "a test")
    older.mutate("key", [Set("a", 2), Append("events", 1)])
    assert newer.read("key") == older.read("key") == {"a": 2, "events": [1]}
    for datastore in (older, newer):
        datastore.close()


def test_tables_that_are_dropped_while_in_use() -> None:
    """An outage with the command that ends it."""
    server, schema = shared(), new_schema()
    datastore = PostgresDatastore(server.url(schema))
    datastore.create("key", {"a": 1})
    with server.connect() as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    with pytest.raises(DatastoreUnavailable, match="zerog setup"):
        datastore.read("key")
    assert datastore.setup()
    datastore.create("key", {"a": 1})
    datastore.close()


# Outages.


def test_a_server_that_is_not_there(own: RunningServer) -> None:
    """Nothing was written, and the errors state that, of reads, writes and puts; after a restart all works again."""
    url = own.url(timeout=2)
    datastore, queue = PostgresDatastore(url), PostgresQueue(url)
    datastore.create("key", {"n": 0})
    queue.put(new_uuid())
    own.kill()
    for call in (lambda: datastore.read("key"), lambda: datastore.mutate("key", [Add("n", 1)]), datastore.setup):
        with pytest.raises(DatastoreUnavailable, match=f"127.0.0.1:{own.port}"):
            call()
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, lambda: queue.reserve(1)):
        with pytest.raises(QueueUnavailable):
            call()
    own.start()
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    assert queue.size() == 1
    datastore.close()
    queue.close()


def test_a_hung_server(own: RunningServer) -> None:
    """A write without an answer may have happened; it and a read end in time and name the server."""
    datastore = PostgresDatastore(own.url(timeout=0.3))
    token = datastore.create("key", {"n": 0})
    ((pid,),) = datastore.server.read("SELECT pg_backend_pid()", {}, "a test")
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(AmbiguousWrite, match=str(own.port)):
            datastore.delete("key", token)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 10
    assert datastore.read("key") in ({"n": 0}, None)
    datastore.close()


def test_a_lock_of_another_client(own: RunningServer) -> None:
    """A statement that waits for it ends at its time-out and has changed nothing."""
    url = own.url(timeout=0.3)
    datastore = PostgresDatastore(url)
    datastore.create("key", {"n": 0})
    with own.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {datastore.server.schema}.zerog_documents IN SHARE MODE".encode())
        with pytest.raises(DatastoreUnavailable, match="statement_timeout"):
            datastore.mutate("key", [Add("n", 1)])
        assert datastore.read("key") == {"n": 0}
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    datastore.close()


def test_connections_that_an_administrator_ends(own: RunningServer) -> None:
    """The next call opens another one."""
    datastore = PostgresDatastore(own.url())
    datastore.create("key", {"n": 0})
    with own.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'zerog'"
        )
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    datastore.close()


def test_a_read_only_server_and_the_one_after_it(own: RunningServer) -> None:
    """Writes are refused and nothing is written; the connection is not kept, for another server may be the primary."""
    datastore = PostgresDatastore(own.url())
    datastore.create("key", {"n": 0})
    with own.connect() as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        datastore.server.close()
        with pytest.raises(DatastoreUnavailable, match="read-only"):
            datastore.mutate("key", [Add("n", 1)])
        assert datastore.read("key") == {"n": 0}
        with pytest.raises(ConfigurationError, match="zerog setup on the primary"):
            PostgresDatastore(own.url()).read("key")
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")
        datastore.server.close()
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    datastore.close()


def test_too_many_connections() -> None:
    """An outage, which names its reason and ends with it."""
    server = started("debian", "max_connections=4", "superuser_reserved_connections=0")
    held = [server.connect() for _ in range(4)]
    datastore = PostgresDatastore(server.url())
    with pytest.raises(DatastoreUnavailable, match="too many clients"):
        datastore.read("key")
    for connection in held:
        connection.close()
    assert datastore.read("key") is None
    datastore.close()
    server.kill()


@pytest.mark.parametrize("code", ["40001", "40P01", "53100", "57014"])
def test_refusals_change_nothing(code: str) -> None:
    """A serialization failure, a deadlock, a full disk, a cancelled statement: raised here by a trigger."""
    server, schema = shared(), new_schema()
    datastore = PostgresDatastore(server.url(schema))
    datastore.create("key", {"n": 0})
    with server.connect() as connection:
        connection.execute(
            f"""
            CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE SQLSTATE '{code}'; END $$;
            CREATE TRIGGER refusing BEFORE UPDATE ON {schema}.zerog_documents EXECUTE FUNCTION {schema}.refuse()
            """.encode()
        )
        with pytest.raises(DatastoreUnavailable, match="nothing was changed"):
            datastore.mutate("key", [Add("n", 1)])
        connection.execute(f"DROP TRIGGER refusing ON {schema}.zerog_documents".encode())
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    datastore.close()


# Processes and settings.


def test_a_forked_child_opens_its_own_connections() -> None:
    """The parent's stay as they are, whatever the child does and however it ends."""
    datastore = PostgresDatastore(shared().url())
    datastore.create("key", {"n": 0})

    def child() -> None:
        datastore.mutate("key", [Add("n", 1)])
        datastore.close()

    assert in_a_fork(child) == 0
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 2}
    datastore.close()


@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        (("fsync=on",), "fsync"),
        (("fsync=on", "synchronous_commit=off"), "1s"),
        (("fsync=on", "synchronous_commit=off", "wal_writer_delay=900ms"), "process"),
        (("fsync=on", "full_page_writes=off"), "process"),
        (("fsync=off",), "process"),
    ],
    ids=str,
)
@pytest.mark.wide
def test_durability(settings: tuple[str, ...], durability: str) -> None:
    """It is read from the server's settings."""
    server = started("debian", *settings)
    datastore = PostgresDatastore(server.url())
    assert datastore.durability == durability
    datastore.close()
    server.kill()


def test_durability_by_the_url() -> None:
    """A connection of its own may have its own setting."""
    datastore = PostgresDatastore(shared().url() + "&options=-c%20synchronous_commit%3Doff")
    ((value,),) = datastore.server.read("SELECT current_setting('synchronous_commit')", {}, "a test")
    assert value == "off"
    datastore.close()


def test_json_is_kept_as_text() -> None:
    """What jsonb would change or refuse is read as it was written."""
    document = {"z": -0.0, "a": "\0", "big": 1e308, "int": 2**63 - 1, "é": "🦀"}
    datastore = PostgresDatastore(shared().url())
    datastore.create("key", document)
    read = datastore.read("key") or {}
    assert (list(read), str(read["z"])) == (list(document), "-0.0") and read == document
    with pytest.raises(psycopg.Error), shared().connect() as connection:
        connection.execute('SELECT \'{"a":"\\u0000"}\'::jsonb')
    datastore.close()
