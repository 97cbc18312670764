"""Serve the REST API by uvicorn."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Collection

from zerog.app import App
from zerog.exceptions import ConfigurationError
from zerog.support.extras import how_to_install

try:
    import uvicorn
except ImportError as error:
    raise ConfigurationError(f"zerog web needs uvicorn, which isn't installed: {how_to_install('web')}") from error

from zerog.web.access import is_loopback_name, read_tokens
from zerog.web.application import LOOPBACK_NAMES, asgi
from zerog.web.connection import Connection

PATIENCE = 10
"""Seconds that running requests have once the server is stopped."""


def serve(
    app: App,
    target: str,
    *,
    host: str,
    port: int,
    token_file: str | None,
    read_only: bool,
    prefix: str,
    names: Collection[str],
    started: Callable[[str], None],
) -> None:
    """Serve until a signal.

    ``names``: further names of this server. ``started`` is called with its address. Raises ConfigurationError.
    """
    tokens = None if token_file is None else read_tokens(token_file)
    if tokens is None and not is_loopback_name(host):
        raise ConfigurationError(
            f"--host {host} would show jobs to other machines without authentication; give --token-file, "
            "or --host 127.0.0.1. Nothing was started."
        )
    own = {_in_header(host), socket.gethostname(), socket.getfqdn(), *map(_in_header, names)}
    hosts = LOOPBACK_NAMES | own
    served = asgi(app, tokens=tokens, hosts=hosts, prefix=prefix, read_only=read_only, target=target)
    config = uvicorn.Config(
        served,
        host=host,
        port=port,
        proxy_headers=False,  # who is on this machine is decided by the connection
        server_header=False,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=PATIENCE,
        timeout_keep_alive=30,
        limit_concurrency=2_000,
    )
    with _listening(host, port) as listening:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has ended
        started(f"http://{_in_header(host)}:{listening.getsockname()[1]}{prefix}")
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound. Raises ConfigurationError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2_048)
    except OSError as error:
        raise ConfigurationError(f"{host}:{port} can't be served: {error}; nothing was started") from None


def _in_header(name: str) -> str:
    """Return a name or address as it is in a Host header."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name
