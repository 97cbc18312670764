"""PostgreSQL that restarts, fails over, is a replica, full or locked while workers are at it; what doctor finds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest

import zerog
from tests.backends.postgres.servers import LOGIN, PASSWORD, RunningServer, Standby, new_schema, shared, started
from tests.processes import until
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.exceptions import AmbiguousWrite, DatastoreError, DatastoreUnavailable
from zerog.records.job import new_uuid
from zerog.records.operations import Add

WITHIN = 60.0

pytestmark = pytest.mark.wide


class Count(zerog.BaseJob):
    """Does nothing that can be done twice unnoticed: it counts its runs in its own document."""

    JOB_TYPE = "count"

    def run(self) -> None:
        self.record_event("ran")


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("debian")
    yield server
    server.kill()


@contextmanager
def working(url: str) -> Iterator[zerog.App]:
    """An app and a worker at it, in a thread."""
    app = zerog.App(url)
    app.register(Count)
    worker = zerog.Worker(app, concurrency=2, lease=30)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield app
    finally:
        worker.stop()
        thread.join(WITHIN)
        app.close()
    assert not thread.is_alive()


def submitted(app: zerog.App, count: int = 10) -> list[str]:
    """Submit jobs whatever happens meanwhile, as a careful program does: under uuids of its own."""
    uuids = []
    for _ in range(count):
        uuid = new_uuid()
        while True:
            try:
                app.submit(Count, uuid=uuid)
                break
            except (AmbiguousWrite, DatastoreUnavailable):
                app.clock.pause(0.05)
        uuids.append(uuid)
    return uuids


def all_ended_once(app: zerog.App, uuids: list[str]) -> None:
    jobs = [app.wait(uuid, timeout=WITHIN) for uuid in uuids]
    assert [job.status for job in jobs] == ["succeeded"] * len(uuids)
    assert [sum(event["msg"] == "ran" for event in job.events) for job in jobs] == [1] * len(uuids)


def test_a_worker_continues_after_a_restart(own: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """A kill of the server and a restart: nothing accepted is lost, and each trouble is logged once."""
    with caplog.at_level(logging.WARNING, "zerog"), working(own.url(timeout=1)) as app:
        first = submitted(app)
        app.wait(first[-1], timeout=WITHIN)
        own.kill()
        until(lambda: any("waiting for the datastore" in text for text in caplog.messages), WITHIN)
        own.start()
        all_ended_once(app, first + submitted(app))
    for verb in ("settle", "claim"):
        assert sum(f"the worker can't {verb}" in text for text in caplog.messages) <= 1


def test_a_worker_continues_on_cut_connections(own: RunningServer) -> None:
    """Whatever they were at; the one that listens is cut, too."""
    with working(own.url(timeout=2)) as app, own.connect() as admin:
        uuids = []
        for _ in range(5):
            uuids += submitted(app, 5)
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'zerog'"
            )
        all_ended_once(app, uuids)


def test_a_worker_waits_for_a_lock_of_another_client(own: RunningServer) -> None:
    """Statements end by their time-out, and are repeated."""
    with working(own.url(timeout=0.5)) as app:
        first = submitted(app)
        all_ended_once(app, first)
        schema = app.datastore.server.schema  # type: ignore[attr-defined]
        with own.connect() as other, other.transaction():
            other.execute(f"LOCK TABLE {schema}.zerog_documents IN SHARE MODE".encode())
            with pytest.raises(DatastoreUnavailable, match="statement_timeout"):
                app.submit(Count)
        all_ended_once(app, submitted(app))


@contextmanager
def none_free(server: RunningServer) -> Iterator[None]:
    """Hold every connection of a server."""
    clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with ExitStack() as held:
        first = held.enter_context(server.connect())
        # The server ends the processes of closed connections a little later.
        until(lambda: first.execute(clients).fetchone() == (1,), WITHIN)
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(server.connect())
        yield


def test_a_worker_waits_for_a_free_connection() -> None:
    """It starts on a server without free ones, which it logs, and works once there are some."""
    server = started("debian", "max_connections=12", "superuser_reserved_connections=0")
    with ExitStack() as ends:
        ends.callback(server.kill)
        url = server.url(timeout=1)
        with zerog.App(url) as app:
            app.setup()
        with ExitStack() as held:
            held.enter_context(none_free(server))
            app = ends.enter_context(working(url))
            with pytest.raises(DatastoreUnavailable, match="too many clients"):
                app.submit(Count)
            held.close()
            all_ended_once(app, submitted(app))


def test_a_deadlock_with_another_client(own: RunningServer) -> None:
    """The one that waited first is ended by the server and has changed nothing; done again, it succeeds."""
    app = zerog.App(own.url())
    app.register(Count)
    app.setup()
    schema = app.datastore.server.schema  # type: ignore[attr-defined]
    uuids = [new_uuid() for _ in range(2)]
    insert = (
        f"INSERT INTO {schema}.zerog_documents (key, cas, body, state, lists) "
        "VALUES ('zerog_job_' || %s, 1, '{}', '{}', '[]')"
    ).encode()
    failures: list[Exception] = []

    def submit() -> None:
        try:
            app.datastore.server.write(  # type: ignore[attr-defined]
                f"INSERT INTO {schema}.zerog_documents (key, cas, body, state, lists) "
                "SELECT 'zerog_job_' || u, 1, '{}', '{}', '[]' FROM unnest(%(uuids)s::text[]) AS u",
                {"uuids": uuids},
                "a test",
            )
        except DatastoreError as error:
            failures.append(error)

    with own.connect() as other, other.transaction():
        other.execute(insert, (uuids[1],))
        thread = threading.Thread(target=submit)
        thread.start()
        with own.connect() as admin:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: admin.execute(waits).fetchone() == (1,), WITHIN)
        other.execute(insert, (uuids[0],))
        thread.join(WITHIN)
        raise psycopg.Rollback
    [error] = failures
    assert isinstance(error, DatastoreUnavailable) and "deadlock" in str(error)
    failures.clear()
    submit()
    assert failures == []
    app.close()


@pytest.mark.wide
def test_a_worker_follows_to_the_new_primary() -> None:
    """The primary dies and a synchronous replica is promoted; both are named in the URL. Nothing accepted is lost."""
    primary = started("debian")
    standby = Standby(primary)
    with primary.connect() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        admin.execute("SELECT pg_reload_conf()")
        kind = "SELECT sync_state FROM pg_stat_replication"
        until(lambda: admin.execute(kind).fetchone() == ("sync",), WITHIN)
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    url = f"postgresql://{LOGIN}@{hosts}/postgres?schema={new_schema()}&target_session_attrs=read-write&timeout=2"
    try:
        with working(url) as app:
            first = submitted(app)
            primary.kill()
            standby.promote()
            all_ended_once(app, first + submitted(app))
    finally:
        standby.kill()


@pytest.mark.wide
def test_a_replica_is_read_and_takes_no_writes() -> None:
    primary = started("debian")
    schema = new_schema()
    first = PostgresDatastore(primary.url(schema))
    first.create("key", {"n": 1})
    standby = Standby(primary)
    replica = PostgresDatastore(standby.url(schema))
    until(lambda: replica.read("key") == {"n": 1}, WITHIN)
    with pytest.raises(DatastoreUnavailable, match="read-only, as a replica is"):
        replica.mutate("key", [Add("n", 1)])
    [trouble] = replica.troubles()
    assert trouble.what.endswith("is a replica and takes no writes")
    assert PASSWORD not in str(trouble)
    for store in (first, replica):
        store.close()
    standby.kill()
    primary.kill()


# What doctor finds.


def test_missing_rights_are_found_with_the_grant_that_adds_them() -> None:
    """Which is run here as it is printed."""
    server, schema = shared(), new_schema()
    PostgresDatastore(server.url(schema)).setup()
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {schema} LOGIN PASSWORD '{PASSWORD}'".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {schema}".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}".encode())
        datastore = PostgresDatastore(server.url(schema, login=f"{schema}:{PASSWORD}"))
        with pytest.raises(DatastoreUnavailable, match="zerog doctor names the GRANT"):
            datastore.create("key", {"n": 1})
        troubles = datastore.troubles()
        assert [trouble.what.partition(": ")[2].split(" on ")[1] for trouble in troubles] == ["sequences", "tables"]
        for trouble in troubles:
            assert PASSWORD not in str(trouble) and trouble.command is not None
            connection.execute(trouble.command.split("'")[1].encode())
        assert datastore.troubles() == []
        datastore.create("key", {"n": 1})
        datastore.close()
