"""One run of the harness: every round takes all peers, each round beginning with another one."""

from __future__ import annotations

import datetime
import json
import platform
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.adapters import Peer
from harness.machine import Foreign, await_quiet, awake, cpu_name, locked
from harness.servers import server_versions
from harness.workloads import WORKLOADS, Options


@dataclass(frozen=True)
class Conditions:
    """The conditions of a session, whatever it measures."""

    baseline: str = "rq:worker"
    rounds: int = 3
    parallel: int = 1
    noise: float = 0.1
    quiet_wait: float = 60
    tries: int = 3
    awake: bool = False
    lock: str | None = None
    out: Path | None = None


@dataclass
class Session:
    """Measures ``peers`` under ``conditions``; the findings are in ``result``, and in a file after each row."""

    peers: list[Peer]
    options: Options
    conditions: Conditions
    result: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        for peer in self.peers:
            peer.install()
        self._mutex = threading.Lock()
        self.result = {
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": " ".join(sys.argv[1:]),
            "cpu": cpu_name(),
            "awake": self.conditions.awake,
            "python": platform.python_version(),
            "system": platform.platform(),
            "servers": server_versions(kind for peer in self.peers for kind in peer.servers),
            "baseline": self.conditions.baseline,
            "jobs": self.options.jobs,
            "versions": {peer.name: peer.versions() for peer in self.peers},
            "rows": [],
        }

    def run(self, workloads: list[str]) -> None:
        """All rounds of all workloads."""
        for workload in workloads:
            for number in range(1, self.conditions.rounds + 1):
                turn = (number - 1) % len(self.peers)
                order = self.peers[turn:] + self.peers[:turn]
                if self._is_parallel(workload):
                    self._together(workload, order, number)
                else:
                    for peer in order:
                        self._alone(workload, peer, number)

    def _is_parallel(self, workload: str) -> bool:
        return self.conditions.parallel > 1 and workload.startswith("faults")

    def _together(self, workload: str, order: list[Peer], number: int) -> None:
        conditions = self.conditions
        with locked(conditions.lock), awake(conditions.awake), ThreadPoolExecutor(conditions.parallel) as pool:
            list(pool.map(lambda peer: self._keep(self._measure(workload, peer, number)), order))

    def _alone(self, workload: str, peer: Peer, number: int) -> None:
        """Measure until one measurement had little other work beside it, or until the tries are used up."""
        for left in range(self.conditions.tries, 0, -1):
            await_quiet(self.conditions.noise, self.conditions.quiet_wait)
            with locked(self.conditions.lock), awake(self.conditions.awake):
                foreign = Foreign()
                row = self._measure(workload, peer, number)
                share = foreign.share()
            row["foreign cpu"] = round(share, 3)
            if left > 1 and row.get("values") and share > self.conditions.noise:
                _print(f"{workload} {peer.name}: once more, other work took {share:.0%} of the CPU")
                continue
            self._keep(row)
            return

    def _measure(self, workload: str, peer: Peer, number: int) -> dict[str, Any]:
        row: dict[str, Any] = {"workload": workload, "peer": peer.name, "round": number}
        try:
            row["values"] = WORKLOADS[workload](peer, self.options)
        except Exception as problem:  # a peer that fails must not take the rest with it
            row["error"] = f"{type(problem).__name__}: {problem}"
        return row | {"foreign cpu": None}

    def _keep(self, row: dict[str, Any]) -> None:
        with self._mutex:
            if row.get("values") is not None or "error" in row:
                self.result["rows"].append(row)
            values = row.get("values") or {}
            shown = {name: round(value, 2) if isinstance(value, float) else value for name, value in values.items()}
            where = f"{row['workload']} round {row['round']} {row['peer']} (other work {row['foreign cpu']})"
            _print(f"{where}: {row.get('error') or shown}")
            if self.conditions.out:
                self.conditions.out.write_text(json.dumps(self.result, indent=1) + "\n")


def _print(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
