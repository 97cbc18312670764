"""PgBouncer in transaction mode in front of the shared server."""

from __future__ import annotations

import os
import shutil
import socket

from tests.backends.postgres.servers import LOGIN, PASSWORD, as_unprivileged, shared, unprivileged
from tests.servers import Server, missing

_started: list[Pooler] = []


class Pooler(Server):
    """Gives each transaction another session, of two that it has."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        super().__init__("pgbouncer")

    def command(self) -> list[str]:
        (self.folder / "users").write_text(f'"postgres" "{PASSWORD}"\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            postgres = host=127.0.0.1 port={shared().port} dbname=postgres user=postgres password={PASSWORD}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {self.folder}/users
            pool_mode = transaction
            default_pool_size = 2
            server_round_robin = 1
            """.replace("            ", "")
        )
        user = unprivileged()
        if user:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        return [*as_unprivileged(), self._binary, str(self.folder / "pgbouncer.ini")]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True


def pooled_url(schema: str) -> str:
    """The URL of a schema of the shared server, by way of the pooler."""
    if not _started:
        binary = shutil.which("pgbouncer")
        if binary is None:
            missing("PgBouncer", "apt-get install pgbouncer")
        _started.append(Pooler(binary))
    return f"postgresql://{LOGIN}@127.0.0.1:{_started[0].port}/postgres?schema={schema}"
