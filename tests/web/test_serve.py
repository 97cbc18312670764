"""``zerog web``: what it refuses to start with, in one line, and a server as a client sees it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.builders import without_app
from tests.servers import free_port
from tests.web.builders import make_app, waiting
from zerog.cli.root import cli


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["without authentication", "--token-file"]),
        (["--host", "::"], ["without authentication"]),
        (["--host", "example.org"], ["without authentication"]),
        (["--token-file", "missing"], ["missing", "can't be read"]),
        (["--prefix", "x"], ["prefix='x'"]),
    ],
    ids=str,
)
def test_it_refuses_to_start(url: str, options: list[str], words: list[str]) -> None:
    refused = CliRunner().invoke(cli, ["web", url, *options])
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1
    assert [word for word in words if word not in refused.stderr] == []


def test_a_port_in_use_is_named(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = CliRunner().invoke(cli, ["web", url, "--port", str(port)])
    assert refused.exit_code == 2
    assert f"127.0.0.1:{port} can't be served" in refused.stderr


def test_what_only_this_process_sees_is_not_served() -> None:
    refused = CliRunner().invoke(cli, ["web", "memory://"])
    assert refused.exit_code == 2
    assert "memory://" in refused.stderr


def test_a_server_answers_until_it_is_stopped(url: str) -> None:
    """Over a datastore alone, and ends with 0 although a stream is open."""
    with make_app(url) as app:
        uuid = waiting(app)
    port = free_port()
    command = [sys.executable, "-m", "zerog", "web", url, "--port", str(port), "--read-only"]
    with subprocess.Popen(command, env=without_app(), stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert f"http://127.0.0.1:{port}/docs" in server.stderr.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/jobs/{uuid}", timeout=30) as answer:
                assert json.load(answer)["status"] == "queued"
                assert "server" not in answer.headers
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/jobs/{uuid}/stream", timeout=30) as stream:
                assert stream.readline().startswith(b"id: ")
                server.terminate()
                assert server.wait(30) == 0
        finally:
            server.kill()


HASTY = """
import sys
from zerog.cli.root import cli
from zerog.web import connection

connection.SLOWEST_HEAD = 0.1
cli(["web", *sys.argv[1:]])
"""


def test_a_client_that_never_ends_its_request_is_cut_off(url: str) -> None:
    with make_app(url):
        pass
    with subprocess.Popen(
        [sys.executable, "-c", HASTY, url, "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            port = int(server.stderr.readline().split("http://127.0.0.1:")[1].split("/")[0])
            with socket.create_connection(("127.0.0.1", port), timeout=60) as attacker:
                attacker.sendall(b"GET /jobs HTTP/1.1\r\nHost: local")
                assert attacker.recv(1) == b""
        finally:
            server.kill()
