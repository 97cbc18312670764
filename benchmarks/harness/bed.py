"""A fresh place for one measurement: a temporary folder, servers, the log of completions, the worker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.adapters import Peer
from harness.machine import TICKS, Foreign, stat
from harness.servers import SERVERS, Server, wait_for
from inside.bench_job import RECORD

INSIDE = Path(__file__).resolve().parents[1] / "inside"
"""The modules for the virtualenvs: the client, and helpers of job bodies."""

STOP_SECONDS = 20.0
"""Seconds that a worker gets to end after SIGTERM."""

Shape = tuple[int, int]
"""Processes, and concurrency in each."""


class Bed:
    """Makes everything when made, and removes it all when closed."""

    def __init__(self, peer: Peer, mode: str = "") -> None:
        self.peer = peer
        self.folder = Path(tempfile.mkdtemp(prefix="zerog-bench-"))
        self.folder.chmod(0o755)  # PostgreSQL may run as another user
        self.app = self.folder / "app"
        self.app.mkdir()
        # Under a separate name, so that peers/rq.py never hides the package rq.
        (self.app / "bench_app.py").symlink_to(peer.adapter.path)
        self.log, self.out = self.folder / "log", self.folder / "out"
        self.log.touch()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.servers: dict[str, Server] = {}
        self._commands: dict[Shape, list[list[str]] | None] = {}
        self.env = self._environment(mode)
        try:
            for kind in peer.servers:
                self.servers[kind] = SERVERS[kind](self.folder)
                self.env[f"BENCH_{kind.upper()}"] = self.servers[kind].url
            if peer.adapter.has_setup:
                self.client("setup")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End worker and servers, remove the folder."""
        self.kill_worker()
        for server in self.servers.values():
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, command: str, timeout: float = 300, **spec: Any) -> Any:
        """Run one command of ``bench_client`` in the peer's virtualenv and return its answer."""
        argv = [str(self.peer.python), str(INSIDE / "bench_client.py"), command, json.dumps(spec)]
        done = subprocess.run(
            argv, env=self.env, cwd=self.app, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.peer.name} {command}: {done.stderr.strip()[-1500:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def _environment(self, mode: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BENCH_"))}
        return kept | {
            "PATH": f"{self.peer.python.parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.peer.venv),
            "PYTHONPATH": f"{self.app}{os.pathsep}{INSIDE}",
            "PYTHONUNBUFFERED": "1",
            "BENCH_LOG": str(self.log),
            "BENCH_OUT": str(self.out),
            "BENCH_MODE": mode,
            "BENCH_VARIANT": self.peer.variant,
            "BENCH_DIR": str(self.folder),
        }

    # the worker

    def commands(self, shape: Shape) -> list[list[str]] | None:
        """The commands that start a worker of this shape, or None if the peer has none."""
        if shape not in self._commands:
            self._commands[shape] = self.client("worker", p=shape[0], c=shape[1])
        return self._commands[shape]

    def first_of(self, *shapes: Shape) -> Shape:
        """The first of these shapes that the peer has."""
        return next(shape for shape in shapes if self.commands(shape))

    def start_worker(self, shape: Shape) -> None:
        """Start every process of a worker; its output is written to a file."""
        for program, *rest in self.commands(shape) or []:
            path = shutil.which(program, path=self.env["PATH"]) or program
            if program == "python":
                path = str(self.peer.python)
            with open(self.folder / "worker.log", "ab") as log:
                self.workers.append(
                    subprocess.Popen(
                        [path, *rest],
                        env=self.env,
                        cwd=self.app,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )

    def worker_pids(self) -> list[int]:
        """Every process of the workers' sessions: a child may have left its parent's process group."""
        sessions = {worker.pid for worker in self.workers}
        pids = []
        for pid in _all_pids():
            with contextlib.suppress(OSError):
                if os.getsid(pid) in sessions:
                    pids.append(pid)
        return pids

    def kill_worker(self) -> None:
        """Send SIGKILL to every process of the worker, until none is left."""
        direct = {worker.pid for worker in self.workers}
        for pid in self.worker_pids():  # children that init reaps would look like other work
            if pid not in direct:
                with contextlib.suppress(OSError):
                    Foreign.orphans += sum(stat(pid)[1:])
        for _ in range(100):
            pids = self.worker_pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for worker in self.workers:
                worker.poll()
            if not pids:
                break
            time.sleep(0.01)
        for worker in self.workers:
            worker.wait()
        self.workers = []

    def stop_worker(self) -> float | None:
        """Send SIGTERM, as supervisors do; return the seconds it took, or None if the worker had to be killed."""
        start = time.monotonic()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(signal.SIGTERM)
        gone = wait_for(lambda: all(worker.poll() is not None for worker in self.workers), STOP_SECONDS)
        took = time.monotonic() - start
        self.kill_worker()
        return took if gone else None

    def worker_has_ended(self) -> bool:
        """Return True if some process of the worker ended unasked."""
        return any(worker.poll() is not None for worker in self.workers)

    def cpu(self) -> float:
        """CPU seconds of servers and worker so far, with those of their children that ended."""
        workers = set(self.worker_pids())
        servers = {server.process.pid for server in self.servers.values()}
        ticks = 0
        for pid in _all_pids():
            with contextlib.suppress(OSError):
                parent, own, children = stat(pid)
                if pid in workers | servers or parent in servers:
                    ticks += own + children
        return ticks / TICKS

    # the log

    def count(self) -> int:
        """Completions so far."""
        return os.stat(self.log).st_size // RECORD.size

    def records(self) -> list[tuple[int, int, int]]:
        """Completions so far, as (job, nanosecond, process)."""
        data = self.log.read_bytes()
        return [(n, at, pid) for n, at, pid in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])]

    def wait_count(self, count: int, seconds: float) -> bool:
        """Wait for that many completions; return False if they are fewer."""
        return wait_for(lambda: self.count() >= count, seconds)

    def tail(self) -> str:
        """The last lines of the worker's output."""
        with contextlib.suppress(OSError):
            return (self.folder / "worker.log").read_text(errors="replace")[-1500:]
        return ""


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
