"""A datastore with scripted answers, and short words for what engines do."""

from __future__ import annotations

from typing import Any

from zerog.backends.memory.datastore import MemoryDatastore
from zerog.engine.engine import Engine
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CasMismatch, DatastoreUnavailable
from zerog.records.job import new_document
from zerog.support.clock import to_text

ALICE = WorkerIdentity("alice", 30.0)


class Unruly(MemoryDatastore):
    """Answers writes by ``plan``, one word each; the last one stays if it ends with ``...``."""

    plan = ""

    def create(self, key: str, value: Any) -> Any:
        return self._answer(super().create, key, value)

    def set_with_cas(self, key: str, value: Any, cas: int) -> Any:
        return self._answer(super().set_with_cas, key, value, cas)

    def mutate(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer(super().mutate, *args, **kwargs)

    def delete(self, key: str, cas: int | None = None) -> Any:
        return self._answer(super().delete, key, cas=cas)

    def _answer(self, write: Any, *args: Any, **kwargs: Any) -> Any:
        word, _, rest = self.plan.partition(" ")
        if not word.endswith("..."):
            self.plan = rest
        word = word.rstrip(".")
        if word == "busy":
            raise CasMismatch("another write was first")
        if word == "down":
            raise DatastoreUnavailable("out of reach")
        if word == "lost":
            raise AmbiguousWrite("the question was lost")
        plan, self.plan = self.plan, ""  # create is a set_with_cas beneath
        try:
            answer = write(*args, **kwargs)
        finally:
            self.plan = plan
        if word == "late":
            raise AmbiguousWrite("the answer was lost")
        return answer


def plan(engine: Engine, words: str) -> None:
    engine.datastore.plan = words  # type: ignore[attr-defined]


def document(engine: Engine, **fields: Any) -> dict[str, Any]:
    return {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}


def submit(engine: Engine) -> str:
    return str(engine.submit([document(engine)])[0][0]["uuid"])


def claim(engine: Engine, want: int = 1) -> list[Any]:
    return engine.claim(want, ALICE, lambda head: head["jobType"])
