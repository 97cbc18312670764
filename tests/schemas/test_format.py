"""The commands of docs/format.md: a job is read without ZeroG, where the database's program is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as redis
from tests.golden.parcels import Parcel

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def lines(program: str) -> list[str]:
    """The lines of the page that call a program."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} isn't installed")
    return [line for line in re.findall(r"^\S.*$", PAGE, re.MULTILINE) if line.startswith(f"{program} ")]


def printed(line: str, folder: Path, **environment: str) -> str:
    ended = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def job_in(url: str) -> tuple[str, dict[str, Any]]:
    """A job that has run once and waits, and its document."""
    app = zerog.App(url)
    app.register(Parcel)
    uuid = app.submit(Parcel, {"sender": "ends"}).uuid
    zerog.Worker(app).run(burst=True)
    document = app.datastore.read(f"zerog_job_{uuid}")
    app.close()
    return uuid, document


def own(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("jobType", "schemaVersion", "sender", "weight", "leg", "stops")}


def test_sqlite(tmp_path: Path) -> None:
    commands = lines("sqlite3")
    uuid, document = job_in(f"sqlite:///{tmp_path}/jobs.db")
    whole, state, history, counts = (printed(line, tmp_path, UUID=uuid) for line in commands)
    assert own({**json.loads(whole), "jobType": "parcel"}) == own(document)
    assert state.strip().split("|") == [document["status"], str(document["attempts"]), str(document["resultCode"])]
    assert "events" in history
    assert "began" in history
    assert counts.strip() == f"{document['status']}|1"


def test_redis(tmp_path: Path) -> None:
    commands = lines("redis-cli")
    server = redis.shared("valkey")
    uuid, _ = job_in(f"redis://127.0.0.1:{server.port}/0?prefix=format")
    [line] = [
        line.replace("redis-cli", f"redis-cli -p {server.port}").replace("{zerog}", "{format}") for line in commands
    ]
    fields = printed(line, tmp_path, UUID=uuid).splitlines()
    assert "body" in fields
    assert any(field.startswith(',"') for field in fields)
    assert '"ends"' in fields[fields.index("body") + 1]


def test_postgres(tmp_path: Path) -> None:
    commands = lines("psql")
    url = postgres.recycled()
    uuid, document = job_in(url)
    plain = url.partition("?")[0]
    schema = re.search(r"schema=(\w+)", url)
    name = schema.group(1) if schema else "zerog"
    whole, counts = (
        printed(line.replace(" zerog.zerog", f" {name}.zerog"), tmp_path, UUID=uuid, URL=plain) for line in commands
    )
    assert own(json.loads(whole)) == own(document)
    assert counts.strip() == f"{document['status']}|1"
