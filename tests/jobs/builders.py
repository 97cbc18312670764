"""Job classes and stores for the tests of this folder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue


class CountSchema(zerog.BaseJobSchema):
    path = fields.String(required=True)
    limit = fields.Integer()


class Documented(zerog.BaseJob):
    """Written as the documentation of the first API shows."""

    JOB_TYPE = "documented"
    SCHEMA = CountSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path = kwargs["path"]
        self.limit = kwargs.get("limit", 7)
        self.scratch: list[str] = []

    def run(self) -> Any:
        return 200


class Declared(zerog.BaseJob):
    """Written with Params and State."""

    JOB_TYPE = "declared"
    SCHEMA_VERSION = "2.0"

    class Params(Schema):
        path = fields.String(required=True)

    class State(Schema):
        offset = fields.Integer(load_default=0)
        share = fields.Float(load_default=0.0)
        notes = fields.List(fields.String(), load_default=list)

    path: str
    offset: int
    share: float
    notes: list[str]

    def run(self) -> Any:
        return None


class PlainStore:
    """A user's own datastore: two verbs and two exceptions, no base class."""

    class casException(Exception):
        pass

    class lockedException(Exception):
        pass

    def __init__(self) -> None:
        self.documents: dict[str, tuple[dict[str, Any], int]] = {}
        self.writes = 0

    def read_with_cas(self, key: str) -> tuple[Any, Any]:
        return copy.deepcopy(self.documents.get(key, (None, None)))

    def set_with_cas(self, key: str, value: dict[str, Any], cas: int) -> tuple[bool, int]:
        if self.documents.get(key, (None, 0))[1] != cas:
            raise self.casException(key)
        self.writes += 1
        self.documents[key] = (copy.deepcopy(value), self.writes)
        return True, self.writes


class PlainQueue:
    """A user's own queue: it can put."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    def put(self, uuid: str, **options: Any) -> int:
        self.bodies.append((uuid, options))
        return len(self.bodies)


class DownQueue(MemoryQueue):
    """A queue server that can't be reached."""

    def put(self, *args: Any, **kwargs: Any) -> int:
        raise zerog.exceptions.QueueUnavailable("connection refused")


class InterferingStore(MemoryDatastore):
    """Another writer changes the document right before each of the next ``times`` writes under a token."""

    def __init__(self, times: int = 0, change: Callable[[MemoryDatastore, str], object] | None = None) -> None:
        super().__init__()
        self.times = times
        self.change = change or (lambda store, key: store.mutate(key, [zerog.records.operations.Set("theirs", 1)]))

    def mutate(self, key: str, operations: Any, cas: int | None = None, **more: Any) -> Any:
        if cas is not None and self.times > 0:
            self.times -= 1
            self.change(super(), key)  # type: ignore[arg-type]
        return super().mutate(key, operations, cas=cas, **more)


def documented(store: Any = None, queue: Any = None, **fields: Any) -> Documented:
    """An unsaved job in the documented style."""
    return Documented(store or MemoryDatastore(), queue or MemoryQueue(), **{"path": "a.txt", **fields})


def declared(store: Any = None, queue: Any = None, **fields: Any) -> Declared:
    """An unsaved job with Params and State."""
    return Declared(store or MemoryDatastore(), queue or MemoryQueue(), **{"path": "a.txt", **fields})


def again(job: Any) -> Any:
    """A second holder of the same document."""
    registry = zerog.JobRegistry()
    registry.add_classes([type(job)])
    return registry.get_job(job.uuid, job.datastore, job.queue)


def head_of(job: zerog.BaseJob) -> dict[str, Any]:
    """The stored document of a job."""
    document = job.datastore.read_with_cas(job.key())[0]
    assert document is not None
    return dict(document)


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """An app on each embedded backend, with both classes."""
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Documented, Declared)
    yield made
    made.close()
