#!/usr/bin/env python3
"""What grows while a supervisor's workers run a steady load of jobs that RETAIN removes, with light faults.

Prints a table of each kind of process: its peak memory, descriptors and threads, and by how much the last third of the
run has more than the middle third; another one of the store, and a line for each minute. ``--svg`` draws the curves.
Run it in an environment that has ``zerog[test]``.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from harness.curves import picture
from harness.servers import Redis, Secantus, Server

INSIDE = Path(__file__).parent / "inside"
SAMPLE = 2.0
"""Seconds between two samples of the processes and the store."""

SLICE = 0.1
"""Seconds between two groups of submits."""

FIELDS = ("memory, MiB", "descriptors", "threads")


class Store:
    """What a backend's store holds; ``figures`` gives it by name."""

    server: Server | None = None
    queue: str | None = None

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._path = folder / "jobs.db"
        if kind == "sqlite":
            self.url = f"sqlite:///{self._path}"
            return
        self.server = Secantus(folder) if kind == "mongodb" else Redis(folder)
        self.url = f"rq+{self.server.url}" if kind == "rq+redis" else self.server.url
        if kind == "mongodb":
            self.queue = f"sqlite:///{folder}/queue.db"

    def figures(self) -> dict[str, float]:
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self._path)) as sqlite:
                used = sqlite.execute(
                    "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
                ).fetchone()[0]
                count = "SELECT count(*) FROM zerog_documents WHERE typeof(finishedAt)"
                ended, others = (sqlite.execute(f"{count} {each} 'text'").fetchone()[0] for each in ("=", "!="))
            wal = Path(f"{self._path}-wal")
            size = wal.stat().st_size / 1024 if wal.exists() else 0
            return {"jobs ended": ended, "jobs not ended": others, "pages in use": used, "WAL, KiB": size}
        if self.kind in ("redis", "rq+redis"):
            import redis

            with redis.Redis.from_url(self.url.removeprefix("rq+")) as client:
                memory = client.info("memory")["used_memory"] / 2**20
                jobs, ended = client.zcard("{zerog}:index"), client.zcard("{zerog}:ended")
            return {"jobs ended": ended, "jobs not ended": jobs - ended, "memory of the data, MiB": memory}
        import pymongo

        with pymongo.MongoClient(self.url) as client:
            documents = client.get_default_database()["zerog_documents"]
            ended = documents.count_documents({"finishedAt": {"$gt": ""}})
            return {"jobs ended": ended, "documents": documents.count_documents({})}


class Samples:
    """Samples processes and the store every SAMPLE seconds."""

    def __init__(self, store: Store, pids: dict[str, int]) -> None:
        self.curves: dict[str, dict[str, dict[int, list[tuple[float, float]]]]] = {
            field: defaultdict(lambda: defaultdict(list)) for field in FIELDS
        }
        self.held: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._store, self._pids = store, pids
        self._began = time.monotonic()

    def take(self) -> None:
        at = time.monotonic() - self._began
        children = _children()
        for role, pid in self._pids.items():
            self._look(role, pid, at)
        workers = children.get(self._pids["supervisor"], [])
        for worker in workers:
            self._look("worker", worker, at)
            for below in _below(worker, children):
                self._look("child", below, at)
        for name, value in self._store.figures().items():
            self.held[name].append((at, value))

    def _look(self, role: str, pid: int, at: float) -> None:
        try:
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            memory = int(status["VmRSS"].split()[0]) / 1024
            found = (memory, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))
        except (OSError, KeyError, ValueError):  # it has ended
            return
        for field, value in zip(FIELDS, found, strict=True):
            self.curves[field][role][pid].append((at, value))


def _children() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.read_text().rpartition(")")[2].split()[1])].append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


def _below(pid: int, children: dict[int, list[int]]) -> list[int]:
    return [each for child in children.get(pid, []) for each in (child, *_below(child, children))]


def submit(rate: float, until: float, counts: dict[str, int]) -> None:
    """Submit that many jobs a second, in groups; what the store refuses is counted."""
    from soak_app import Step, app

    from zerog.exceptions import ZerogError

    began = time.monotonic()
    while (now := time.monotonic()) < until:
        owed = int((now - began) * rate) - counts["submitted"] - counts["refused"]
        if owed > 0:
            try:
                app.submit_many(Step, [{}] * owed)
                counts["submitted"] += owed
            except ZerogError as error:
                print(f"refused: {error}", file=sys.stderr)
                counts["refused"] += owed
        time.sleep(SLICE)


def fault(supervisor: int, number: int) -> str:
    """End a worker, by SIGKILL and SIGTERM in turns; its supervisor starts another one."""
    workers = _children().get(supervisor, [])
    if not workers:
        return "none"
    name = ("SIGKILL", "SIGTERM")[number % 2]
    try:
        os.kill(random.choice(workers), getattr(signal, name))
    except ProcessLookupError:
        return "none"
    return name


def rest(seconds: float) -> dict[str, int]:
    """How many jobs are not yet removed, by status, once none waits or runs; or after that many seconds."""
    from soak_app import app

    end = time.monotonic() + seconds
    while True:
        found = {status: sum(1 for _ in app.jobs(status=status)) for status in ("queued", "scheduled", "running")}
        if not any(found.values()) or time.monotonic() > end:
            found["failed"] = sum(1 for _ in app.jobs(status="failed"))
            return found
        time.sleep(1)


def run(options: argparse.Namespace, folder: Path) -> tuple[Samples, dict[str, int], dict[str, int]]:
    """The samples, the counts of submits and faults, and what is left at the end."""
    store = Store(options.store, folder)
    os.environ |= {"SOAK_URL": store.url, "SOAK_RETAIN": str(options.retain)}
    os.environ["PYTHONPATH"] = f"{INSIDE}:{INSIDE.parents[1]}"
    if store.queue:
        os.environ["SOAK_QUEUE"] = store.queue
    sys.path.insert(0, str(INSIDE))
    command = [sys.executable, "-m", "zerog", "worker", "soak_app:app", "--processes", str(options.processes)]
    command += ["--concurrency", str(options.concurrency), "--executor", options.executor, "--log-level", "WARNING"]
    try:
        from soak_app import app

        app.setup()
        with (folder / "workers.log").open("wb") as log:
            supervisor = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            try:
                return watch(options, store, supervisor.pid)
            finally:
                supervisor.send_signal(signal.SIGTERM)
                supervisor.wait(60)
                app.close()
    finally:
        if store.server is not None:
            store.server.stop()


def watch(options: argparse.Namespace, store: Store, supervisor: int) -> tuple[Samples, dict[str, int], dict[str, int]]:
    """Submit jobs, make faults and take samples until the time is over."""
    counts = {"submitted": 0, "refused": 0, "SIGKILL": 0, "SIGTERM": 0, "none": 0}
    pids = {"supervisor": supervisor, "submitter": os.getpid()}
    if store.server is not None:
        pids["server"] = store.server.process.pid
    samples = Samples(store, pids)
    end = time.monotonic() + options.minutes * 60
    submitter = threading.Thread(target=submit, args=(options.rate, end, counts), daemon=True)
    submitter.start()
    next_fault = time.monotonic() + options.faults
    while time.monotonic() < end:
        samples.take()
        if options.faults and time.monotonic() >= next_fault:
            counts[fault(supervisor, counts["SIGKILL"] + counts["SIGTERM"])] += 1
            next_fault += options.faults
        time.sleep(SAMPLE)
    submitter.join()
    return samples, counts, rest(60)


def growth(line: list[tuple[float, float]]) -> float:
    """By how much the median of the last third is above that of the middle third."""
    third = len(line) // 3
    if not third:
        return 0.0
    return statistics.median(y for _, y in line[-third:]) - statistics.median(y for _, y in line[third:-third])


def table(samples: Samples) -> list[str]:
    """The lines of a Markdown table."""
    lines = ["| process | how many | peak MiB | growth | peak descriptors | growth | peak threads | growth |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for role, by_pid in samples.curves[FIELDS[0]].items():
        cells = [role, str(len(by_pid))]
        for field in FIELDS:
            of_role = samples.curves[field][role]
            longest = max(of_role.values(), key=len)
            cells.append(f"{max(y for line in of_role.values() for _, y in line):.0f}")
            cells.append(f"{growth(longest):+.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| store | peak | middle third | last third |", "|---|---|---|---|"]
    for name, line in samples.held.items():
        third = len(line) // 3
        parts = (line, line[third:-third] or line, line[-third:])
        values = [max(y for _, y in parts[0]), *(statistics.median(y for _, y in part) for part in parts[1:])]
        lines.append(f"| {name} | {' | '.join(f'{value:,.1f}' for value in values)} |")
    return lines


def minutes(samples: Samples) -> list[str]:
    """The lines of a Markdown table: what each minute has at its peak, by process and in the store."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for field, curves in samples.curves.items():
        for role, by_pid in curves.items():
            columns[f"{role}: {field}"] = [point for line in by_pid.values() for point in line]
    columns |= samples.held
    lines = [f"| minute | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    last = int(max(at for points in samples.held.values() for at, _ in points) // 60)
    for minute in range(last + 1):
        cells = [max((y for at, y in points if at // 60 == minute), default=0) for points in columns.values()]
        lines.append(f"| {minute + 1} | {' | '.join(f'{cell:,.0f}' for cell in cells)} |")
    return lines


def main() -> None:
    """Run it and print the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=("sqlite", "redis", "rq+redis", "mongodb"))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rate", type=float, default=300, help="jobs submitted a second")
    parser.add_argument("--retain", type=float, default=20, help="seconds for which ended jobs are kept")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--executor", choices=("thread", "async", "process"), default="thread")
    parser.add_argument("--faults", type=float, default=45, metavar="SECONDS", help="between two; 0: none")
    parser.add_argument("--svg", type=Path, help="draw the curves into this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zerog-soak-") as folder:
        samples, counts, left = run(options, Path(folder))
        log = (Path(folder) / "workers.log").read_text(errors="replace").splitlines()
    print(f"{options.store}, {options.minutes:g} minutes, {options.rate:g} jobs/s, RETAIN {options.retain:g} s")
    print(", ".join(f"{name} {count}" for name, count in {**counts, **left}.items()))
    print("\n".join(["", *table(samples), "", *minutes(samples)]))
    print("\n".join(["", f"{len(log)} lines logged; the last ones:", *log[-5:]]))
    if options.svg:
        panels = {
            field: {role: list(by_pid.values()) for role, by_pid in curves.items()}
            for field, curves in samples.curves.items()
        }
        options.svg.write_text(picture({**panels, **{name: {"store": [line]} for name, line in samples.held.items()}}))


if __name__ == "__main__":
    main()
