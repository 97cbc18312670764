"""Faults on demand."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from tests.backends.couchbase.standin.protocol import KEYED, WRITES, Op, Request, Status


@dataclass
class Fault:
    """A fault, and the requests that it matches.

    ``kind``: ``unanswered`` (done, but not answered), ``dropped`` (neither done nor answered), ``closed`` (done, then
    the connection ends), or the name of a Status, with which it is refused. ``op``: an Op's name, ``write`` for any
    write, or ``document`` for any that names a key. ``key``: what the key begins with. The first ``skip`` matching
    requests pass; ``times`` (0: all) are hit.
    """

    kind: str
    op: str = "write"
    key: str = ""
    skip: int = 0
    times: int = 1


class Faults:
    """The faults to come, and a count of every request that passed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.counts: Counter[str] = Counter()

    def set(self, faults: list[Fault]) -> None:
        """From now on exactly these."""
        self._faults = faults

    def of(self, request: Request, key: bytes) -> str | None:
        """Return the kind of fault that this request meets, if any, and use it up."""
        with self._lock:
            for fault in self._faults:
                if not self._matches(fault, request.op, key):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                self.count(f"fault.{fault.kind}")
                return fault.kind
        return None

    def count(self, what: str, times: int = 1) -> None:
        """Count something for ``counts``."""
        self.counts[what] += times

    def _matches(self, fault: Fault, op: int, key: bytes) -> bool:
        ops = {"write": WRITES, "document": KEYED}.get(fault.op) or {Op[fault.op]}
        return op in ops and key.startswith(fault.key.encode())


def refusal(kind: str) -> Status | None:
    """The status of a kind of fault."""
    return Status.__members__.get(kind)
