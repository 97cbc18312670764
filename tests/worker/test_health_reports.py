"""How a worker reports to systemd, its supervisor and a probe that it is ready and well. Real processes and sockets."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

import zerog
from tests.acceptance.harness import Workers
from tests.acceptance.test_supervisor import worker_pids
from tests.processes import stretched
from zerog.exceptions import ConfigurationError
from zerog.testing.clock import ManualClock
from zerog.worker.health import HealthReporter, from_environment

PATIENCE = 1.0
"""Seconds of silence after which the tests' systemd would restart a worker."""


class Systemd:
    """The receiving end of sd_notify: what arrived, and from which process."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(round(PATIENCE * 1e6))}
        self.received: list[tuple[float, int, str]] = []

    def close(self) -> None:
        self._socket.close()

    def listen(self, seconds: float) -> list[str]:
        """The lines that arrive within that time, or until one that is new."""
        self._socket.settimeout(seconds)
        try:
            message, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            return []
        pid, _, _ = struct.unpack("3i", ancillary[0][2])
        lines = message.decode().splitlines()
        self.received += [(time.monotonic(), pid, line) for line in lines]
        return lines

    def until(self, line: str, seconds: float = 20.0) -> None:
        """Listen until a line with that beginning has arrived."""
        deadline = time.monotonic() + stretched(seconds)
        while not any(each.startswith(line) for _, _, each in self.received):
            left = deadline - time.monotonic()
            assert left > 0, f"no {line} within {seconds} s; received {self.received}"
            self.listen(left)

    def longest_silence(self, seconds: float) -> float:
        """Listen for a while; the longest time without a WATCHDOG=1."""
        beats = [begin := time.monotonic()]
        while (left := begin + seconds - time.monotonic()) > 0:
            if "WATCHDOG=1" in self.listen(left):
                beats.append(time.monotonic())
        beats.append(time.monotonic())
        return max(later - earlier for earlier, later in pairwise(beats))


@pytest.fixture
def abstract_systemd() -> Iterator[Systemd]:
    listener = Systemd(f"@zerog-test-{os.getpid()}-{os.urandom(4).hex()}")
    yield listener
    listener.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(f"{tmp_path}/notify")
    yield listener
    listener.close()


APP = dedent(
    """
    import os, pathlib, threading, zerog
    from zerog.worker import health

    from tests.worker.test_health_reports import Environment

    app = zerog.App()
    app.register(Environment)
    """
)


class Environment(zerog.BaseJob):
    """Reports which variables it sees."""

    JOB_TYPE = "environment"

    def run(self) -> dict[str, list[str]]:
        return {"names": sorted(os.environ)}


def workers(folder: Path, more: str = "", *options: str) -> Workers:
    (folder / "watched.py").write_text(APP + dedent(more))
    return Workers(folder, "--lease", "1", "--grace", "1", *options, module=None)


def start(w: Workers, folder: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, **more: str) -> int:
    for name, value in {**systemd.variables, **more}.items():
        monkeypatch.setenv(name, value)
    return w.start(code=folder / "watched.py").pid


def test_ready_beats_status_and_stopping(
    abstract_systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY once it holds its lease and claims, a heartbeat at half the patience or sooner, STOPPING at SIGTERM."""
    systemd = abstract_systemd
    with workers(tmp_path) as w:
        pid = start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        assert worker_pids(w) == [pid]
        assert systemd.longest_silence(1.5 * PATIENCE) <= PATIENCE / 2 + 0.2
        os.kill(pid, signal.SIGTERM)
        systemd.until("STOPPING=1")
        assert w.running[0].wait(20) == 0
        lines = [line for _, _, line in systemd.received]
        assert lines.count("READY=1") == 1
        assert any(line.startswith("STATUS=0 jobs claimed; 0 succeeded") for line in lines)
        assert {sender for _, sender, _ in systemd.received} == {pid}


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_the_variables_stay_with_the_worker(
    executor: str, systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that a job starts must not send notices for the service."""
    with workers(tmp_path, "", "--executor", executor) as w:
        start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        w.app.register(Environment)
        names = w.app.wait(w.app.submit("environment").uuid, 20).output["names"]
        assert "PATH" in names
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "ZEROG_SUPERVISOR_LINK", "ZEROG_URL"} & {*names}


def test_a_watchdog_for_another_process_gets_no_beats(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workers(tmp_path) as w:
        start(w, tmp_path, systemd, monkeypatch, WATCHDOG_PID="1")
        systemd.until("READY=1")
        assert systemd.longest_silence(1.5 * PATIENCE) >= 1.5 * PATIENCE


@pytest.mark.wide
def test_several_processes_speak_with_one_voice(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready once all are; everything is sent by the process that systemd started."""
    with workers(tmp_path, "", "--processes", "2") as w:
        pid = start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        assert len(worker_pids(w)) == 2
        systemd.until("STATUS=2 of 2 worker processes are ready", 0)
        assert systemd.longest_silence(1.5 * PATIENCE) <= PATIENCE / 2 + 0.2
        os.kill(pid, signal.SIGTERM)
        systemd.until("STOPPING=1")
        assert w.running[0].wait(20) == 0
        assert {sender for _, sender, _ in systemd.received} == {pid}


def test_a_silent_process_is_replaced_and_the_rest_continues(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stopped dead is killed by its supervisor, which keeps up its own heartbeat."""
    with workers(tmp_path, "", "--processes", "2") as w:
        start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        before = worker_pids(w)
        os.kill(before[0], signal.SIGSTOP)
        assert systemd.longest_silence(2 * PATIENCE) < PATIENCE
        after = w.until(lambda: len(found := worker_pids(w)) == 2 and before[0] not in found and found)
        assert before[1] in after
        assert f"worker process {before[0]} was silent" in w.log.read_text()


STUCK = """
    health.STUCK_AFTER = 1.0
    step = app.engine.step
    def hang_on_request(*arguments, **more):
        if pathlib.Path("hang").exists():
            threading.Event().wait()
        return step(*arguments, **more)
    app.engine.step = hang_on_request
"""


def test_a_stuck_store_thread_ends_the_beats(systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is renewed, the process looks alive, and yet nothing is claimed: systemd must notice."""
    with workers(tmp_path, STUCK) as w:
        start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        systemd.until("WATCHDOG=1")
        (tmp_path / "hang").touch()
        w.until(lambda: "the thread that settles and claims has made no progress" in w.log.read_text())
        systemd.longest_silence(0.1)  # what was sent before that
        assert systemd.longest_silence(1.5 * PATIENCE) >= 1.5 * PATIENCE
        assert len(worker_pids(w)) == 1


@pytest.mark.wide
def test_a_stuck_store_thread_in_one_of_several_processes_costs_that_process(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor replaces it without systemd's help."""
    with workers(tmp_path, STUCK, "--processes", "2") as w:
        start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        before = worker_pids(w)
        (tmp_path / "hang").touch()
        w.until(lambda: all(f"worker process {pid} was silent" in w.log.read_text() for pid in before))
        (tmp_path / "hang").unlink()
        w.until(lambda: len(found := worker_pids(w)) == 2 and not {*found} & {*before})
        assert systemd.longest_silence(2 * PATIENCE) < PATIENCE


def test_waiting_for_the_datastore_is_no_fault(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process keeps locked costs the lease; a restart would change nothing: heartbeats continue."""
    more = """
        from zerog.backends.sqlite import connection
        health.STATUS_SECONDS = 0.2
        connection.BUSY_SECONDS = 0.3
        health.STUCK_AFTER = 1.0
    """
    with workers(tmp_path, more) as w:
        start(w, tmp_path, systemd, monkeypatch)
        systemd.until("READY=1")
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            assert systemd.longest_silence(3.0) < PATIENCE
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert "could not renew its lease" in w.log.read_text()
        assert "has made no progress" not in w.log.read_text()
        systemd.until("STATUS=waiting for the datastore", 0)
        systemd.received.clear()
        systemd.until("STATUS=0 jobs claimed")


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
@pytest.mark.wide
def test_a_heartbeat_file_is_as_young_as_the_last_beat(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears once the worker is ready, and grows old when it is stuck."""
    monkeypatch.setenv("WATCHDOG_USEC", str(round(PATIENCE * 1e6)))
    file = tmp_path / "alive"
    with workers(tmp_path, STUCK, "--heartbeat", str(file), *options) as w:
        worker = w.start(code=tmp_path / "watched.py")
        w.until(file.exists)
        assert len(worker_pids(w)) == (2 if options else 1)
        first = file.stat().st_mtime_ns
        w.until(lambda: file.stat().st_mtime_ns > first, PATIENCE)
        os.kill(worker.pid, signal.SIGSTOP) if options else (tmp_path / "hang").touch()
        w.until(lambda: time.time() - file.stat().st_mtime > 2 * PATIENCE)
        os.kill(worker.pid, signal.SIGCONT)


# the notifier alone


def test_only_what_is_due_is_sent() -> None:
    messages: list[str] = []
    clock = ManualClock()
    reporter = HealthReporter([messages.append], 60.0, clock)
    reporter.beat("starting", is_ready=False)
    reporter.beat("starting", is_ready=False)
    reporter.beat("a", is_ready=True)
    for text in "bcdefg":
        clock.advance(3.0)
        reporter.beat(text)
    ready = "READY=1\nWATCHDOG=1\nSTATUS=a"
    assert messages == ["STATUS=starting", ready, "STATUS=c", "STATUS=e", "WATCHDOG=1", "STATUS=g"]


def test_what_could_not_be_sent_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """READY is not lost because systemd was busy for a moment, and the log isn't flooded meanwhile."""
    messages: list[str] = []
    is_busy = True

    def outlet(message: str) -> None:
        if is_busy:
            raise TimeoutError("busy")
        messages.append(message)

    reporter = HealthReporter([outlet], None, ManualClock())
    for _ in range(3):
        reporter.beat("ok")
    is_busy = False
    reporter.beat("ok")
    assert messages == ["READY=1"]
    assert [record.getMessage() for record in caplog.records] == [
        "the supervisor of this process could not be notified of READY=1: busy"
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "NOTIFY_SOCKET='vsock:2:1234'"),
        ({"NOTIFY_SOCKET": "@"}, "expected /a/path or @name"),
        ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC='soon'"),
        ({"WATCHDOG_USEC": "0"}, "microseconds"),
    ],
)
def test_variables_that_make_no_sense_are_refused(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words):
        from_environment()


def test_a_heartbeat_file_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        from_environment(tmp_path / "nowhere" / "alive")


def test_a_heartbeat_follows_no_link_of_another_user(tmp_path: Path, public: Path) -> None:
    """In a folder such as /tmp: neither at the start nor when the link is made later."""
    (public / "early").symlink_to(tmp_path / "theirs")
    os.lchown(public / "early", 65534, 65534)
    with pytest.raises(ConfigurationError, match="a link of user 65534"):
        from_environment(public / "early")
    reporter = from_environment(public / "late")
    (public / "late").symlink_to(tmp_path / "theirs")
    os.lchown(public / "late", 65534, 65534)
    reporter.beat("ok")
    assert not (tmp_path / "theirs").exists()


def test_a_watchdog_without_a_listener_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was left in the environment must not make a supervisor kill its workers."""
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    assert from_environment().patience is None
    assert "WATCHDOG_USEC" not in os.environ
