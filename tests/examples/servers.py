"""The web examples as real processes on loopback, with a real worker and a browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import zerog
from tests.processes import stretched
from tests.servers import missing
from zerog.engine.transitions import WorkerIdentity
from zerog.testing.clock import ManualClock

ROOT = Path(__file__).parents[2]
WEB = (ROOT / "examples/web/jobs.py").parent

COMMANDS = {
    "examples/web/flask_app.py": ["-m", "flask", "--app", "flask_app", "run", "--port", "{port}"],
    "examples/web/fastapi_app.py": ["-m", "uvicorn", "fastapi_app:app", "--port", "{port}"],
    "examples/web/django_app.py": ["django_app.py", "runserver", "--noreload", "{port}"],
}
"""How each application is started, according to its first lines."""

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Processes:
    """Python processes on one SQLite file, ended with the block that they were started in. Use as ``with``.

    ``example`` is the folder in which they run, ``folder`` that of the SQLite file and the log.
    """

    def __init__(self, folder: Path, example: Path = WEB) -> None:
        self.folder = folder
        self.example = example
        self.url = f"sqlite:///{folder}/jobs.db"
        self.log = folder / "processes.log"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self._running:
            self.stop(process)

    def start(self, *arguments: str, port: int = 0) -> subprocess.Popen[bytes]:
        """Start Python in the folder of the examples; with ``port``, wait until it listens there."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.example,
                env={**os.environ, "ZEROG_URL": self.url, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        if port:
            self.until(lambda: process.poll() is not None or listens(port), f"{arguments} listens")
            assert process.poll() is None, self.log.read_text()
        return process

    def serve(self, example: str, port: int) -> subprocess.Popen[bytes]:
        """Start one of the applications."""
        return self.start(*(part.format(port=port) for part in COMMANDS[example]), port=port)

    def work(self, app: str = "jobs:app") -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("-m", "zerog", "worker", app, "--concurrency", "4")

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End one process."""
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(stretched(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Wait for a condition; fail, with the processes' output, if it isn't true in time."""
        deadline = time.monotonic() + stretched(seconds)
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds} s\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)  # the pace of polling, not a wait for the thing itself


def listens(port: int) -> bool:
    """True if a server answers at a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Where it is missing a test is skipped, but fails if CI is set."""
    path = shutil.which("chromium")
    if path is None:
        missing("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def away(app: zerog.App) -> Iterator[None]:
    """The datastore fails for all, as it does when its server is down."""
    with app.datastore.file.writing() as sqlite:
        sqlite.execute("ALTER TABLE zerog_documents RENAME TO zerog_documents_away")
    try:
        yield
    finally:
        with app.datastore.file.writing() as sqlite:
            sqlite.execute("ALTER TABLE zerog_documents_away RENAME TO zerog_documents")


class Silent(zerog.BaseJob):
    """Known to the examples as an import."""

    JOB_TYPE = "import_rows"

    def run(self) -> None:
        raise NotImplementedError


def stalled_job(path: str) -> str:
    """The uuid of a job whose worker took it 20 minutes ago, on a long lease, and has been silent since."""
    app = zerog.App(f"sqlite:///{path}", clock=ManualClock(datetime.now(UTC) - timedelta(minutes=20)))
    app.register(Silent)
    uuid = app.submit(Silent, queue="unserved").uuid
    assert app.engine.claim(1, WorkerIdentity("silent", 9999.0), app.registry.load_head, ["unserved"])
    app.close()
    return uuid
