"""The workloads. Each measures one peer once and returns its numbers by name, or None if it doesn't apply."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.adapters import Peer
from harness.bed import Bed, Shape
from harness.faults import faults
from harness.machine import memory
from harness.servers import wait_for

SHAPES: tuple[Shape, ...] = ((1, 1), (1, 16), (2, 8))
"""Workers of the throughput workload; (2, 1) stands in for (2, 8) where a peer has neither threads nor tasks."""

FIRST_SECONDS = 40
"""How long a worker may take to run its first jobs."""

WARM_JOBS, TIMED_JOBS = 20, 300
"""Of the latency workload."""

IMPORTS = 7
"""Imports of which the median is taken."""

MANY_JOBS = 10_000
"""Jobs between the two samples of the footprint workload."""

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Settings of the workloads from the command line."""

    jobs: int = 5000
    max_drain: float = 12
    interval: float = 0.025
    fault_jobs: int = 2000
    patience: float = 150
    seed: str = "1"


def throughput(peer: Peer, options: Options) -> Numbers:
    """Enqueue no-op jobs with no worker running, then let a worker drain them, for each shape."""
    lists: dict[str, list[float]] = {}
    out: Numbers = {}
    for number, shape in enumerate(SHAPES):
        with Bed(peer) as bed:
            if not bed.commands(shape):
                shape = (shape[0], 1)
                if shape == (1, 1) or not bed.commands(shape):
                    continue
            # The first shape enqueues one by one, the rest in bulk where there is a bulk call.
            is_bulk = bool(peer.adapter.bulk) and number > 0
            way = "bulk enqueue" if is_bulk else "enqueue"
            took, used = _enqueue(bed, options.jobs, is_bulk)
            lists.setdefault(f"{way}/s", []).append(options.jobs / took)
            lists.setdefault(f"{way} cpu us", []).append(used / options.jobs * 1e6)
            out |= _drain(bed, shape, options)
    return {name: statistics.median(values) for name, values in lists.items()} | out


def _enqueue(bed: Bed, jobs: int, is_bulk: bool) -> tuple[float, float]:
    """Seconds, and CPU seconds of client and server together."""
    cpu = bed.cpu()
    took, used = bed.client("enqueue", kind="noop", first=0, count=jobs, bulk=is_bulk)
    return took, used + bed.cpu() - cpu


def _drain(bed: Bed, shape: Shape, options: Options) -> Numbers:
    out: Numbers = {}
    name = f"{shape[0]}x{shape[1]}"
    bed.start_worker(shape)
    if not bed.wait_count(2, FIRST_SECONDS):
        raise RuntimeError(f"{bed.peer.name}: no job ran\n{bed.tail()}")
    cpu, before = bed.cpu(), bed.count()
    bed.wait_count(options.jobs, options.max_drain)
    cpu, ran = bed.cpu() - cpu, bed.count() - before
    bed.kill_worker()
    if cpu >= 0.1 and ran:  # ten clock ticks, below which the figure is noise
        out[f"drain cpu us {name}"] = cpu / ran * 1e6
    done = sorted(at for _, at, _ in bed.records())
    if len(done) > options.jobs:
        out["extra"] = len(done) - options.jobs
    out[f"drain/s {name}"] = (len(done) - 1) / (done[-1] - done[0]) * 1e9
    return out


def latency(peer: Peer, options: Options) -> Numbers:
    """From before the enqueue call to the start of the job, in a warm worker with nothing else to do."""
    with Bed(peer) as bed:
        bed.start_worker(bed.first_of((1, 16), (1, 1)))
        bed.client("enqueue", kind="noop", first=10**6, count=WARM_JOBS, bulk=False)
        if not bed.wait_count(WARM_JOBS, FIRST_SECONDS):
            raise RuntimeError(f"{peer.name}: the worker ran {bed.count()} of {WARM_JOBS}\n{bed.tail()}")
        time.sleep(1)
        sent = dict(bed.client("latency", count=TIMED_JOBS, interval=options.interval))
        bed.wait_count(WARM_JOBS + TIMED_JOBS, 15)
        took = sorted((at - sent[n]) / 1e6 for n, at, _ in bed.records() if n in sent)
    out: Numbers = {f"p{q} ms": took[min(len(took) - 1, len(took) * q // 100)] for q in (50, 95, 99)}
    if len(took) != TIMED_JOBS:
        out["missing"] = TIMED_JOBS - len(took)
    return out


def progress(peer: Peer, options: Options) -> Numbers | None:
    """The cost of a job's own reports: progress, and events appended to its record."""
    if not peer.adapter.progress:
        return None
    with Bed(peer) as bed:
        bed.start_worker((1, 1))
        bed.client("enqueue", kind="progress", first=0, count=1, bulk=False)
        if not wait_for(bed.out.exists, 150) or not wait_for(lambda: bed.out.stat().st_size, 5):
            raise RuntimeError(f"{peer.name}: the job reported nothing\n{bed.tail()}")
        numbers: Numbers = json.loads(bed.out.read_text())
        return numbers


def footprint(peer: Peer, options: Options) -> Numbers:
    """Time to import the client module; memory of an idle worker, and after many jobs."""
    out: Numbers = {}
    with Bed(peer) as bed:
        if peer.adapter.module:
            out["import ms"] = statistics.median(_import_ms(bed, peer.adapter.module) for _ in range(IMPORTS))
        bed.start_worker(bed.first_of((1, 16), (1, 1)))
        bed.client("enqueue", kind="noop", first=0, count=1, bulk=False)
        bed.wait_count(1, FIRST_SECONDS)
        time.sleep(1.5)
        pids = bed.worker_pids()
        out["idle RSS MiB"], out["idle PSS MiB"] = memory(pids)
        out["processes"] = len(pids)
        bed.client("enqueue", kind="noop", first=1, count=MANY_JOBS, bulk=bool(peer.adapter.bulk))
        bed.wait_count(MANY_JOBS + 1, 120)
        time.sleep(1.5)
        out["RSS MiB after"], out["PSS MiB after"] = memory(bed.worker_pids())
        out["jobs run"] = bed.count()
    return out


def _import_ms(bed: Bed, module: str) -> float:
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    argv = [str(bed.peer.python), "-c", code]
    return float(subprocess.run(argv, env=bed.env, cwd=bed.app, capture_output=True, check=True).stdout) * 1e3


def _faults(how: str, peer: Peer, options: Options) -> Numbers | None:
    return faults(peer, how, options.fault_jobs, options.patience, options.seed)


WORKLOADS: dict[str, Callable[[Peer, Options], Numbers | None]] = {
    "throughput": throughput,
    "latency": latency,
    "progress": progress,
    "footprint": footprint,
    "faults-kill": partial(_faults, "kill"),
    "faults-term": partial(_faults, "term"),
    "faults-server": partial(_faults, "server"),
}


def named(given: str) -> list[str]:
    """Workloads from a comma-separated list; ``faults`` is all of those. Raises SystemExit for an unknown one."""
    names: list[str] = []
    for name in given.split(","):
        found = [known for known in WORKLOADS if known == name or (name == "faults" and known.startswith("faults-"))]
        if not found:
            raise SystemExit(f"there is no workload {name}; there are {', '.join(WORKLOADS)} and faults")
        names += found
    return names
