"""Write the changes of a job object to its document; retry after refused tokens.

A change is a list of operations. Within a run it is written under the run's numbers; elsewhere it merges with
concurrent writes, as far as the job's state allows (``outside``). Operations that may wait (``flush=False``) are sent
with the next write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from zerog.contracts.datastore import Mutation, without_history
from zerog.engine.cas import Attempts
from zerog.exceptions import AmbiguousWrite, JobNotFound, JobStateError
from zerog.jobs import outside, size_limit
from zerog.jobs.progress import share
from zerog.jobs.schema import TIMESTAMPS
from zerog.records.fields import DOCUMENTED, ENGINE_FIELDS, HISTORY, PROTECTED
from zerog.records.job import check_head, make_key, new_document
from zerog.records.operations import Add, Append, Max, Operation, Remove, Set, apply, check
from zerog.support import jsonvalues
from zerog.support.clock import from_text

if TYPE_CHECKING:
    from zerog.jobs.document import StoredJob

T = TypeVar("T")

_DEFAULTS = {field: value for field, value in new_document("", 1.0, "").items() if field in DOCUMENTED}
"""Default values of a new job's fields; these need no check."""


_NO_TURN = nullcontext()


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


def write(job: StoredJob, operations: Sequence[Operation], flush: bool = True) -> None:
    """Change the job object and its document, which is stored if it never was."""
    check(operations)
    if job._stored is None:
        _write_new(job, operations, flush and not job._gathering)
        return
    operations = size_limit.bounded(job, operations)
    if flush and not job._gathering:
        with _turn(job):
            before = _shown(job, operations)
            apply_locally(job, operations)
            try:
                _exchange(job, operations)
            except JobStateError:
                job.__dict__.update(before)
                raise
        return
    with _turn(job):  # what a thread adds to, another one may be reading
        apply_locally(job, operations)
        job._pending.add(operations)


def _write_new(job: StoredJob, operations: Sequence[Operation], flush: bool) -> None:
    """Change a job that was never saved; ``flush`` saves it. If that fails, nothing is changed."""
    before = _shown(job, operations)
    history = {field: list(entries) for field, entries in (job._history or {}).items()}
    apply_locally(job, operations)
    if flush:
        try:
            save(job)
        except Exception:
            job.__dict__.update(before)
            job._history = history
            raise


def send(job: StoredJob, operations: Sequence[Operation] = (), cas: int | None = None) -> None:
    """Send what waits together with ``operations``, in one write. If it is refused, what waited still waits."""
    with _turn(job):
        _exchange(job, operations, cas)


def _turn(job: StoredJob) -> AbstractContextManager[object]:
    """Return the lock by which the threads of a run write one after the other.

    Without it an older answer could overwrite a newer token, and a ``save`` could include what another thread is about
    to write.
    """
    return _NO_TURN if job._run is None else job._run.turn


def _exchange(job: StoredJob, operations: Sequence[Operation], cas: int | None = None) -> None:
    waiting = job._pending.take()
    if not waiting and not operations:
        return
    try:
        mutation, left = _send(job, waiting, operations, cas)
    except AmbiguousWrite:
        job._history = job._sizes = None
        raise  # it may be stored: sending it again could apply it twice
    except BaseException:
        job._pending.add_before(waiting)
        job._history = job._sizes = None  # they show what is not stored
        raise
    job._pending.add_before(left)
    if mutation is None:
        return
    job._token = mutation.token
    job._latest = mutation.values["updatedAt"]
    for field, value in mutation.values.items():
        _set_attribute(job, field, value)
    assert job._stored is not None
    job._stored.update(mutation.values)
    for operation in [*waiting, *operations]:
        if isinstance(operation, Remove) and operation not in left and operation.field not in mutation.values:
            job._stored.pop(operation.field, None)
    if job._run is not None:
        job._run.notice(mutation)


def _send(
    job: StoredJob, waiting: list[Operation], operations: Sequence[Operation], cas: int | None
) -> tuple[Mutation | None, list[Operation]]:
    """Write, and return what was stored, and what of ``waiting`` still has to wait."""
    together = Pending()
    together.add(waiting)
    if job._run is None:
        return outside.write(job, list(together), operations, cas)
    together.add(operations)
    return job._run.write([*together, Max("updatedAt", job._now())], cas), []


def apply_locally(job: StoredJob, operations: Sequence[Operation]) -> None:
    """Show a change on the job object before its document has it."""
    for operation in operations:
        field = operation.field
        if isinstance(operation, Append):
            job._append_locally(field, operation.value)
        elif isinstance(operation, Remove):
            job._unknown.pop(field, None)
        else:
            present = {} if isinstance(operation, Set) else {field: getattr(job, field, None)}
            _set_attribute(job, field, apply(present, [operation])[field])


def _shown(job: StoredJob, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the attributes that ``operations`` are going to change, with their values."""
    owns = (job._declaration.by_key(operation.field) for operation in operations)
    names = [o.field if own is None else own.attribute for o, own in zip(operations, owns, strict=True)]
    return {name: job.__dict__[name] for name in names if name in job.__dict__}


def _set_attribute(job: StoredJob, field: str, value: Any) -> None:
    own = job._declaration.by_key(field)
    if own is not None:
        setattr(job, own.attribute, own.load(value))
    elif field in TIMESTAMPS and isinstance(value, str):
        setattr(job, field, from_text(value))
    elif field in ENGINE_FIELDS:
        if field not in HISTORY:
            setattr(job, field, share(value) if field == "completeness" else jsonvalues.copy(value))
    else:
        job._unknown[field] = value  # a count of dropped events, or a field of newer code


def save(job: StoredJob) -> None:
    """Store what differs from the document as this object last read it, if that is the current one.

    The first save creates the document. Raises ``casException`` on a stale token, also if there is nothing to store.
    """
    datastore = job._engine.datastore
    job.completeness = share(job.completeness)
    if job._stored is None:
        document = new_document_of(job)
        # A job that was given a token by hand claims to be stored already: the token decides.
        token = datastore.set_with_cas(job.key(), document, job._token)[1]
        job._stored, job._token = document, token
        return
    try:
        with _turn(job):
            operations = size_limit.bounded(job, _differences(job))
            if not operations and not [*job._pending]:
                if job._run is None:
                    _check_token(job)
                    return
                operations = [Max("updatedAt", job._now())]
            send(job, operations, cas=job._token)
    except datastore.casException:
        if job._run is not None and _is_cancelled(job):
            job._run.cancelled = True
            job._run.check()
        raise


def has_changes(job: StoredJob) -> bool:
    """Return True if ``save`` has something to store."""
    return job._stored is None or bool([*job._pending]) or bool(_differences(job))


def _check_token(job: StoredJob) -> None:
    datastore = job._engine.datastore
    token = datastore.read_with_cas(job.key(), head=True)[1]
    if token != job._token:
        raise datastore.casException(
            f"job {job.uuid} was changed or removed since this object last saw it; this object has changed nothing, "
            "and nothing was written"
        )


def new_document_of(job: StoredJob) -> dict[str, Any]:
    """Return the document of a job that isn't stored yet. Raises InvalidValue for what could not be read again."""
    document = {**job._dump_head(), **{field: jsonvalues.copy(job._raw_entries(field)) for field in HISTORY}}
    for field, default in _DEFAULTS.items():
        value = document[field]
        if value is not default and (value != default or type(value) is not type(default)):
            job._declaration.check_engine_value(field, value)
    if job.MAX_EVENTS is not None and job._engine.datastore.history_limit != job.MAX_EVENTS:
        document["maxEvents"] = job.MAX_EVENTS
    size_limit.bound_new(job, document)
    return document


def _is_cancelled(job: StoredJob) -> bool:
    """Return True if the job was cancelled meanwhile: then the run is to stop, not to fail."""
    head = job._engine.datastore.read_with_cas(job.key(), head=True)[0]
    return head is not None and head.get("epoch") == job.epoch and head.get("cancelRequested") is not None


def _differences(job: StoredJob) -> list[Operation]:
    assert job._stored is not None
    changed: list[Operation] = []
    waiting = {operation.field for operation in job._pending}
    dumped = job._dump_head()
    unset = [key for key in job._stored if key not in dumped and job._declaration.by_key(key) is not None]
    changed.extend(Remove(key) for key in unset if key not in waiting and job._stored[key] is not None)
    for key, value in dumped.items():
        if key in waiting:
            continue
        if key in job._stored and job._stored[key] == value and type(job._stored[key]) is type(value):
            continue
        if key in PROTECTED:
            if key in job._stored and key not in TIMESTAMPS and job._stored[key] != value:
                job._check_settable(key)
            continue
        job._declaration.check_engine_value(key, value)
        changed.append(Set(key, value))
    return changed


def reload(job: StoredJob, history: bool = True) -> None:
    """Read the document again into this object, with its history in the same read if ``history`` is set.

    Changes that wait stay; attributes outside the schema are not touched.
    """
    key = make_key(job.uuid)
    document, token = job._engine.datastore.read_with_cas(key, head=not history)
    if document is None or token is None:
        raise JobNotFound(f"job {job.uuid} is not stored any more")
    check_head(key, document)
    job._show(without_history(document), token)
    if history:
        job._history = {field: document.get(field) or [] for field in HISTORY}
    apply_locally(job, list(job._pending))


def record_change(job: StoredJob, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function that changes the job, then save; after a concurrent write reload and start again.

    Raises TooManyCollisions after 200 tries; the change is not stored then.
    """
    unsaved = [] if job._stored is None else _differences(job)
    attempts = Attempts(job._engine.datastore, job.key(), unanswered=0)
    while True:
        result = function(*args, **kwargs)
        if job._stored is None and not job._token:  # a refusal is no collision: another job has this uuid
            save(job)
            return result
        with attempts:
            save(job)
            return result
        _reload_below(job, unsaved)


def _reload_below(job: StoredJob, unsaved: list[Operation]) -> None:
    """Reload, and keep what had been assigned on this object and not saved.

    Raises ``casException`` if another writer changed one of those fields, too: only the caller can choose between the
    two values.
    """
    before = dict(job._stored or {})
    reload(job, history=False)
    assert job._stored is not None
    for operation in unsaved:
        if job._stored.get(operation.field) != before.get(operation.field):
            raise job._engine.datastore.casException(
                f"{operation.field} of job {job.uuid} was changed here and by another client; this change is not stored"
            )
    apply_locally(job, unsaved)


def absorb_ticks(job: StoredJob, delta: float) -> None:
    """Add ``delta`` and the ticks not yet recorded to the completeness, and each tick once.

    The stored ticks are part of it, so outside a run this is a compare-and-swap; a run is the only writer of them.
    While another process runs the job, they belong to that run.
    """
    with _turn(job):
        _absorb_ticks(job, delta)


def _absorb_ticks(job: StoredJob, delta: float) -> None:
    attempts = Attempts(job._engine.datastore, job.key(), unanswered=0)
    while True:
        ticks = job.tickcount
        own = sum(o.amount for o in job._pending if isinstance(o, Add) and o.field == "tickcount")
        foreign = job._run is None and job.owner is not None
        added: list[Operation] = [Add("completeness", delta + (own if foreign else ticks), 0.0, 1.0)]
        added.append(Add("tickcount", -own) if foreign else Set("tickcount", 0.0))
        check(added)
        if job._run is not None or job._stored is None or job._gathering:
            write(job, added)
            return
        with attempts:
            send(job, added, cas=job._token)
            return
        reload(job, history=False)
