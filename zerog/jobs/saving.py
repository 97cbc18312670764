"""How changes of a job object reach its document. The only catcher of a refused token.

A change is a list of operations. Within a run it goes out under the run's numbers; elsewhere it merges with whatever
others write. Operations that may wait (``flush=False``) ride with the next write.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from zerog import values
from zerog.clock import SYSTEM, from_text, to_text
from zerog.datastores.base import HISTORY, Mutation
from zerog.datastores.operations import Append, Operation, Set, apply, check
from zerog.document import PROTECTED, make_key
from zerog.exceptions import AmbiguousWrite, Cancelled, JobNotFound, TooManyCollisions
from zerog.jobs.schema import TIMESTAMPS

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

MAX_COLLISIONS = 200
"""How often ``record_change`` starts again because somebody else wrote first."""

T = TypeVar("T")


class Pending:
    """Operations that wait for the next write; a later ``Set`` of a field replaces what waits for it."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []

    def add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, Set):
                self._operations = [o for o in self._operations if o.field != operation.field]
            self._operations.append(operation)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def take(self) -> list[Operation]:
        """All of them; none is waiting afterwards."""
        operations, self._operations = self._operations, []
        return operations


def write(job: BaseJob, operations: Sequence[Operation], flush: bool = True) -> None:
    """Change the job object and its document. An unsaved job changes only itself; ``save`` stores it."""
    check(operations)
    apply_locally(job, operations)
    if job._stored is None:
        return
    if flush and not job._gathering:
        send(job, operations)
    else:
        job._pending.add(operations)


def send(job: BaseJob, operations: Sequence[Operation] = (), cas: int | None = None) -> None:
    """Send what waits together with ``operations``, in one write. If it is refused, what waited goes on waiting."""
    waiting = job._pending.take()
    if not waiting and not operations:
        return
    together = Pending()
    together.add(waiting)
    together.add(operations)
    try:
        mutation = _send(job, [*together, Set("updatedAt", to_text(job._clock.now()))], cas)
    except (AmbiguousWrite, Cancelled):
        raise  # it may be stored, or is: sending it again could apply it twice
    except BaseException:
        job._pending.add(waiting)
        raise
    job._token = mutation.token
    for field, value in mutation.values.items():
        _set_attribute(job, field, value)
    assert job._stored is not None
    job._stored.update(mutation.values)


def _send(job: BaseJob, operations: list[Operation], cas: int | None) -> Mutation:
    if job._run is not None:
        return job._run.write(operations, cas)
    return job._engine.datastore.mutate(job.key(), operations, cas=cas)


def apply_locally(job: BaseJob, operations: Sequence[Operation]) -> None:
    """Show a change on the job object before its document has it."""
    for operation in operations:
        field = operation.field
        if isinstance(operation, Append):
            job._append_locally(field, operation.value)
        else:
            present = {} if isinstance(operation, Set) else {field: getattr(job, field, None)}
            _set_attribute(job, field, apply(present, [operation])[field])


def _set_attribute(job: BaseJob, field: str, value: Any) -> None:
    own = job._declaration.by_key(field)
    if own is not None:
        setattr(job, own.attribute, own.load(value, {}))
    elif field in TIMESTAMPS and isinstance(value, str):
        setattr(job, field, from_text(value))
    elif field not in HISTORY:
        setattr(job, field, value)


def save(job: BaseJob) -> None:
    """Store what differs from the document as this object last saw it, if nobody wrote meanwhile.

    The first save creates the document. Raises ``casException`` on a stale token.
    """
    datastore = job._engine.datastore
    if job._stored is None:
        document = job.dump()
        document.pop("cas")
        # A job that was given a token by hand claims to be stored already: the token decides.
        token = datastore.set_with_cas(job.key(), document, job._token)[1]
        job._stored, job._token = values.copy(document), token
        return
    send(job, _differences(job), cas=job._token)


def _differences(job: BaseJob) -> list[Operation]:
    assert job._stored is not None
    changed: list[Operation] = []
    waiting = {operation.field for operation in job._pending}
    for key, value in job._dump_head().items():
        if key in PROTECTED or key in waiting:
            continue
        if key not in job._stored or job._stored[key] != value or type(job._stored[key]) is not type(value):
            changed.append(Set(key, value))
    return changed


def reload(job: BaseJob) -> None:
    """Read the head again into this object. Changes that wait stay; attributes outside the schema are not touched."""
    head, token = job._engine.datastore.read_with_cas(make_key(job.uuid), head=True)
    if head is None or token is None:
        raise JobNotFound(f"job {job.uuid} is not stored any more")
    job._show(head, token)
    apply_locally(job, [operation for operation in job._pending if not isinstance(operation, Append)])


def record_change(job: BaseJob, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function that changes the job, then save; if somebody else wrote first, reload and start again.

    Raises TooManyCollisions after MAX_COLLISIONS tries; the change is not stored then.
    """
    for _ in range(MAX_COLLISIONS):
        result = function(*args, **kwargs)
        try:
            save(job)
            return result
        except job._engine.datastore.casException:
            SYSTEM.pause(random.uniform(0, 0.002))
            reload(job)
    raise TooManyCollisions(
        f"job {job.uuid} was changed by others {MAX_COLLISIONS} times in a row; this change is not stored"
    )
