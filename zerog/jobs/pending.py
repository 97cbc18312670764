"""Operations of one job object that wait for its next write."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from zerog.records.operations import Add, Operation, Put, Remove, Set


class Pending:
    """Operations that wait for the next write; a later ``Set`` of a field replaces what waits for it."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._lock = threading.RLock()  # a job may record things from its own threads

    def add(self, operations: Iterable[Operation]) -> None:
        """Add operations that wait."""
        with self._lock:
            self._add(operations)

    def _add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, (Set, Remove)):
                self._operations = [o for o in self._operations if o.field != operation.field]
            elif isinstance(operation, Put):
                self._operations = [o for o in self._operations if o[:2] != operation[:2] or not isinstance(o, Put)]
            elif isinstance(operation, Add) and self._merge(operation):
                continue
            self._operations.append(operation)

    def add_before(self, operations: Iterable[Operation]) -> None:
        """Put ``operations`` before what waits: the later operation wins."""
        with self._lock:
            later = self.take()
            self._add(operations)
            self._add(later)

    def _merge(self, operation: Add) -> bool:
        """Merge additions, so that a million ticks wait as one operation; False if it can't be merged."""
        for index in range(len(self._operations) - 1, -1, -1):
            waiting = self._operations[index]
            if waiting.field == operation.field:
                if waiting[2:] != (None, None) or operation[2:] != (None, None) or not isinstance(waiting, Add):
                    return False
                self._operations[index] = waiting._replace(amount=waiting.amount + operation.amount)
                return True
        return False

    def __iter__(self) -> Iterator[Operation]:
        return iter(list(self._operations))

    def take(self) -> list[Operation]:
        """Remove and return all of them."""
        with self._lock:
            operations, self._operations = self._operations, []
        return operations
