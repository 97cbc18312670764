"""Where a rehearsal reads its documents, and that it writes nowhere."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis

import zerog
from tests.backends.mongo import servers as mongo
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as valkey
from tests.cli.rehearsal.builders import Deploy, rehearse, rehearsed
from zerog.contracts.find import FindQuery
from zerog.exceptions import ZerogError
from zerog.loading import load_app
from zerog.records.job import make_key
from zerog.records.operations import Set

READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_RECURSIVE,
}


def reading_only(action: int, *_what: object) -> int:
    return sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY


@pytest.fixture
def sqlite_reader(monkeypatch: pytest.MonkeyPatch) -> str:
    """Every connection that this process opens from now on refuses to write."""
    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_authorizer(reading_only)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    return "sqlite:///jobs.db"


def test_nothing_is_written_to_sqlite(deploy: Deploy, request: pytest.FixtureRequest) -> None:
    """A connection that refuses writes is enough, and the file keeps each of its bytes."""
    with load_app("before:app") as app:
        uuid = deploy.submitted(app)
    before = Path("jobs.db").read_bytes()
    url = request.getfixturevalue("sqlite_reader")
    with zerog.App(url) as refusing, pytest.raises(ZerogError, match="not authorized"):
        refusing.datastore.mutate(make_key(uuid), [Set("priority", 1)])
    assert rehearsed("after:app")["types"][0]["migrates"] == 1
    assert rehearsed("after:app", "--from", url)["types"][0]["migrates"] == 1
    assert Path("jobs.db").read_bytes() == before


@contextmanager
def redis_reader() -> Iterator[tuple[str, str]]:
    """The URL of a server, and that of its user without a right to write."""
    server = valkey.started("valkey")
    url = server.url()
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-@write", "+@scripting")
    yield url, url.replace("127.0.0.1", "reader:pw@127.0.0.1")
    server.kill()


@contextmanager
def postgres_reader() -> Iterator[tuple[str, str]]:
    """The same on PostgreSQL: its user may only select, and its transactions are read-only."""
    server = postgres.shared()
    schema = postgres.new_schema()
    role = f"reader_{schema}"
    zerog.App(server.url(schema)).close()
    with zerog.App(server.url(schema)) as app:
        app.setup()
    with server.connect() as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN PASSWORD 'pw'",
            f"ALTER ROLE {role} SET default_transaction_read_only = on",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            connection.execute(statement.encode())
    yield server.url(schema), server.url(schema, f"{role}:pw")
    with server.connect() as connection:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


@contextmanager
def mongo_reader() -> Iterator[tuple[str, str]]:
    """The same on SecantusDB, whose users have roles as MongoDB's."""
    server = mongo.started()
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{server.port}") as client:
        for name, role in (("writer", "readWrite"), ("reader", "read")):
            client.jobs.command("createUser", name, pwd="pw", roles=[{"role": role, "db": "jobs"}])
    server.signal(signal.SIGTERM)
    assert server.process is not None
    server.process.wait(20)
    server.options = ("--auth",)
    server.start()
    url = server.url("writer:pw@", "jobs")
    yield url, url.replace("writer", "reader")
    server.kill()


@pytest.mark.parametrize("reader", [redis_reader, postgres_reader, mongo_reader], ids=lambda each: each.__name__)
def test_a_user_without_write_rights_can_rehearse(reader: Any, deploy: Deploy) -> None:
    """What a server refuses to the user was not needed."""
    with reader() as (url, read_only):
        queue = "memory://" if url.startswith("mongodb") else url
        with zerog.App(datastore=url, queue=queue) as app:
            app.register(load_app("before:app").job_class("invoice"))
            uuid = deploy.submitted(app)
            before = app.datastore.read_with_cas(make_key(uuid))
            with zerog.App(datastore=read_only, queue="memory://") as refusing, pytest.raises(ZerogError):
                refusing.datastore.mutate(make_key(uuid), [Set("priority", 1)])
            report = rehearsed("after:app", "--from", read_only)
            assert (report["types"][0]["migrates"], report["findings"]) == (1, [])
            assert app.datastore.read_with_cas(make_key(uuid)) == before


def test_code_that_submits_reaches_memory_alone(deploy: Deploy, old: zerog.App) -> None:
    """The app of the process that tries the code has parts of its own."""
    deploy.change('app.submit("invoice", {"cents": 1}); app.datastore.delete("zerog_job_" + document["uuid"])')
    uuid = deploy.submitted(old)
    rehearsed("after:app")
    assert [head["uuid"] for head in old.datastore.find(FindQuery()).heads] == [uuid]


def test_a_file_of_json_lines(deploy: Deploy, old: zerog.App) -> None:
    """The same filters hold; documents may have their history, and ended ones are left out by default."""
    kept, ended = deploy.submitted(old), deploy.submitted(old)
    old.cancel(ended)
    documents = [old.datastore.read(make_key(uuid)) for uuid in (kept, ended)]
    Path("jobs.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents) + "\n")
    assert rehearsed("after:app", "--from", "jobs.jsonl")["documents"] == 1
    assert rehearsed("after:app", "--from", "jobs.jsonl", "--status", "cancelled")["documents"] == 1
    assert rehearsed("after:app", "--from", "jobs.jsonl", "--type", "other")["documents"] == 0


def test_filters_and_samples(deploy: Deploy, old: zerog.App) -> None:
    """--sample tries so many of each type and version."""
    for _ in range(5):
        deploy.submitted(old)
    assert rehearsed("after:app")["documents"] == 5
    assert rehearsed("after:app", "--sample", "2")["documents"] == 2
    assert rehearsed("after:app", "--type", "none")["documents"] == 0
    assert rehearsed("after:app", "--schema-version", "1")["documents"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["after:app", "--from", "absent.jsonl"], "absent.jsonl can't be read"),
        (["after:app", "--from", "broken.jsonl"], "broken.jsonl, line 2 is no JSON"),
        (["after:app", "--from", "list.jsonl"], "list.jsonl, line 1 is no object"),
        (["after:app", "--from", "memory://"], "--from memory:// keeps nothing that another process could read"),
        (["after:app", "--from", "redis://:hunter2@127.0.0.1:1/0"], "can't be reached"),
        (["absent:app", "--from", "empty.jsonl"], "there is no module absent"),
        (["exits:app", "--from", "empty.jsonl"], "exits:app can't be loaded: its code ends the process (exit code 5)"),
    ],
)
def test_mistakes_are_reported_in_one_line(arguments: list[str], words: str, deploy: Deploy) -> None:
    Path("empty.jsonl").write_text("")
    Path("list.jsonl").write_text("[]\n")
    Path("broken.jsonl").write_text("\n{\n")
    Path("exits.py").write_text("import os; os._exit(5)\n")
    result = rehearse(*arguments)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output
