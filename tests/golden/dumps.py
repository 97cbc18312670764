"""Dumps of what each adapter has stored, as its server holds it, and how they are restored.

``python -m tests.golden.dumps FOLDER`` lets a job of each status come to be on each adapter (``parcels``) and writes
``<adapter>-<format>`` files there. A new layout adds files to ``tests/golden``; none is changed or removed.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mongomock
import redis as redis_client
from bson import json_util

import zerog
from tests.backends.couchbase import servers as couchbase
from tests.backends.mongo import servers as mongo
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as redis
from tests.golden.parcels import live, live_here
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.records.fields import FORMAT

GOLDEN = Path(__file__).parent

NAME = "golden"
"""The prefix or schema of what is dumped. It is replaced by a new one where a dump is restored."""


def dump_redis() -> str:
    url = redis.shared("valkey").url(prefix=NAME)
    live(url)
    client = redis_client.Redis.from_url(url.partition("?")[0])
    keys = sorted(key for key in client.scan_iter(f"*{{{NAME}}}*"))
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"hash": lambda key: list(client.hgetall(key).items()),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: sorted(client.smembers(key)),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    entries = []
    for key in keys:
        kind = client.type(key)
        entries.append({"key": _coded(key), "kind": kind.decode(), "value": _coded(readers[kind](key))})
    client.close()
    return json.dumps(entries, indent=1)


def restore_redis(text: str) -> zerog.App:
    url = redis.shared("valkey").url()
    prefix = url.rpartition("prefix=")[2]
    with redis_client.Redis.from_url(url.partition("?")[0]) as client:
        for entry in json.loads(text):
            key, value = _decoded(entry["key"]).replace(NAME.encode(), prefix.encode()), _decoded(entry["value"])
            match entry["kind"]:
                case "string":
                    client.set(key, value)
                case "hash":
                    client.hset(key, mapping=dict(value))
                case "list":
                    client.rpush(key, *value)
                case "set":
                    client.sadd(key, *value)
                case "zset":
                    client.zadd(key, dict(value))
    return zerog.App(url)


def _coded(value: Any) -> Any:
    """Bytes as text where they are UTF-8, so that a dump can be read, else in base64; within lists, too."""
    if isinstance(value, (list, tuple)):
        return [_coded(part) for part in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return value.encode() if isinstance(value, str) else value


def dump_postgres() -> str:
    server = postgres.shared()
    live(server.url(NAME))
    program = postgres.debian()
    assert program is not None
    login = f"postgresql://{postgres.LOGIN}@127.0.0.1:{server.port}/postgres"
    options = ["--schema", NAME, "--inserts", "--no-owner", "--no-privileges"]
    command = [str(program / "pg_dump"), "-d", login, *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def restore_postgres(text: str) -> zerog.App:
    """Leave out psql's own commands and settings, which depend on the version of the server."""
    server, schema = postgres.shared(), postgres.new_schema()
    statements = "\n".join(
        line for line in text.splitlines() if not line.startswith(("\\", "SET ", "--", "SELECT pg_catalog.set_config"))
    )
    with server.connect() as connection:
        connection.execute(re.sub(rf"\b{NAME}\b", schema, statements).encode())
    return zerog.App(server.url(schema))


def dump_mongo() -> str:
    server = mongo.shared()
    datastore = MongoDatastore(server.url(collection=NAME))
    live_here(zerog.App(datastore=datastore, queue="memory://"))
    documents = [json_util.dumps(document) for document in datastore.server.collection.find().sort("_id")]
    datastore.close()
    return "\n".join(documents) + "\n"


def restore_mongo(text: str) -> zerog.App:
    return _with_documents(MongoDatastore(mongo.shared().url()), text)


def restore_mongomock(text: str) -> zerog.App:
    return _with_documents(MongoDatastore(client=mongomock.MongoClient()), text)


def _with_documents(datastore: MongoDatastore, text: str) -> zerog.App:
    datastore.server.collection.insert_many([json_util.loads(line) for line in text.splitlines()])
    return zerog.App(datastore=datastore, queue="memory://")


def dump_couchbase() -> str:
    server = couchbase.shared()
    path = server.new_collection()
    live_here(zerog.App(datastore=server.url(path), queue="memory://"))
    documents: Any = server.ask(dump=".".join(path.split("/")[1:]))
    return json.dumps(documents, indent=1, sort_keys=True)


def restore_couchbase(text: str) -> zerog.App:
    """Make the index anew, which is the query service's and not among the documents."""
    app = zerog.App(datastore=couchbase.fresh_url(), queue="memory://")
    for key, document in json.loads(text).items():
        app.datastore.server.collection.upsert(key, document.encode())
    app.setup()
    return app


@dataclass(frozen=True)
class Adapter:
    """How the documents of an adapter are dumped, and the apps over what is restored from a dump."""

    dump: Callable[[], str]
    restore: tuple[Callable[[str], zerog.App], ...]
    suffix: str = "json"


ADAPTERS = {
    "redis": Adapter(dump_redis, (restore_redis,)),
    "postgres": Adapter(dump_postgres, (restore_postgres,), "sql"),
    "mongo": Adapter(dump_mongo, (restore_mongomock, restore_mongo)),
    "couchbase": Adapter(dump_couchbase, (restore_couchbase,)),
}
"""Those whose documents outlive a process; SQLite's dumps are older than this program. Memory has none."""


def main(folder: Path) -> None:
    """Write the dumps, with nothing of this machine in them. Texts keep their length, which some adapters store."""
    root = str(GOLDEN.parents[1])
    for name, adapter in ADAPTERS.items():
        with mock.patch("socket.gethostname", return_value="host"):
            text = adapter.dump()
        (folder / f"{name}-{FORMAT}.{adapter.suffix}").write_text(text.replace(root, "/srv".ljust(len(root), "/")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
