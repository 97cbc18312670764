"""The document of a job object: what was read of it, what waits to be written, and how both are written.

A change is a list of operations. Within a run it is written under the run's numbers; elsewhere it merges with
concurrent writes, as far as the job's state allows (``outside``). Operations that may wait (``flush=False``) are sent
with the next write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from zerog.contracts.datastore import Mutation, without_history
from zerog.engine.cas import Attempts
from zerog.engine.engine import Engine
from zerog.engine.transitions import is_to_pause
from zerog.exceptions import AmbiguousWrite, JobNotFound, JobStateError
from zerog.jobs import outside
from zerog.jobs.additions import Additions, upgrade
from zerog.jobs.attributes import Attributes
from zerog.jobs.declaration import declaration_of
from zerog.jobs.differences import differences
from zerog.jobs.limits import own_limits
from zerog.jobs.progress import STALLED_AFTER, absorbing, share, stalled_after
from zerog.records.fields import HISTORY
from zerog.records.job import Document, check_head, make_key
from zerog.records.operations import Append, Max, Operation, Pending, Remove, check
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock, to_text

if TYPE_CHECKING:
    from zerog.engine.run import Run
    from zerog.jobs.base import BaseJob
    from zerog.jobs.stored import StoredJob

T = TypeVar("T")

_NO_TURN = nullcontext()


class JobDocument:
    """Head, token, history and pending writes of one job object.

    ``values`` is the ``__dict__`` of the object: its attributes are the fields of the document as Python values.
    """

    def __init__(self, job_class: type[BaseJob], values: dict[str, Any]) -> None:
        self.declaration = declaration_of(job_class)
        self.attributes = Attributes(self.declaration, values)
        self.clock: Clock = SYSTEM
        self.run: Run | None = None
        """The run of which the object is the job: it fences the writes."""
        self.stored: Document | None = None
        """The head as last read or written; None before the first save."""
        self.token = 0
        """The token of that head; 0 for a job that isn't stored."""
        self.pending = Pending()
        self.latest = ""
        """The latest time that was read or written."""
        self.last_write = self.clock.monotonic()
        self.is_gathering = False
        """True while writes wait for the next one."""
        self._history: dict[str, list[Document]] | None = {field: [] for field in HISTORY}
        self._job_class = job_class
        self._values = values
        adds = job_class.ATTRIBUTES or job_class.MAX_DOCUMENT
        self._additions = Additions(job_class, self.declaration) if adds else None

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine over the object's datastore and queue; an app gives its objects its own."""
        return Engine(self._values["datastore"], self._values["queue"])

    @property
    def uuid(self) -> str:
        """The uuid of the job."""
        return str(self._values["uuid"])

    @property
    def key(self) -> str:
        """The datastore key."""
        return make_key(self.uuid)

    @property
    def build(self) -> str | None:
        """The build of the code that runs the job, None outside a run."""
        return None if self.run is None else self.run.build

    @property
    def history_limit(self) -> int:
        """Entries kept of each history."""
        return self._job_class.MAX_EVENTS or self.engine.datastore.history_limit

    def now(self) -> str:
        """Return the time for a record: never earlier than what this object has read or written."""
        self.latest = max(self.latest, to_text(self.clock.now()))
        return self.latest

    # the object's attributes and the stored head

    def dump_history(self) -> dict[str, list[Document]]:
        """Return a copy of the history."""
        return {field: jsonvalues.copy(self.entries(field)) for field in HISTORY}

    def entries(self, field: str) -> list[Document]:
        """Return the entries of one history, oldest first; the object's own list. Read at the first need."""
        if self._history is None:
            document = self.engine.datastore.read(self.key) or {}
            self._history = {name: list(document.get(name) or []) for name in HISTORY}
            for operation in self.pending:
                if isinstance(operation, Append):
                    self._history[operation.field].append(operation.value)
        return self._history[field]

    def show(self, head: Document, token: int) -> None:
        """Set the attributes of the schema from a stored head; everything else stays. Raises CorruptDocument."""
        lifted = self.declaration.chain.lift(head)
        self.attributes.load(lifted)
        self.bind(head, lifted, token)

    def bind(self, head: Document, lifted: Document, token: int) -> None:
        """Take over a stored head whose values the attributes show; what lifting it changed waits to be written."""
        self.stored, self.token, self._history = head, token, None
        self._values.update(own_limits(head))
        self._forget_sizes()
        self.latest = max(self.latest, head["updatedAt"])
        if lifted is not head:
            self.pending.add_before(upgrade(self.declaration, head, lifted))

    def start(self, history: dict[str, list[Document]], unknown: Document, token: int) -> None:
        """Take over what a job object was made with: its history, undeclared fields and token."""
        self._history, self.attributes.unknown, self.token = history, unknown, token

    # writes

    def write(self, operations: Sequence[Operation], flush: bool = True) -> None:
        """Change the job object and its document, which is stored if it never was."""
        check(operations)
        flush = flush and not self.is_gathering
        if self.stored is None:
            self._write_new(operations, flush)
        else:
            operations = self._added_to(operations)
            with self._turn():  # what a thread adds to, another one may be reading
                before = self.attributes.changed_by(operations) if flush else {}
                self._apply_locally(operations)
                if flush:
                    try:
                        self._exchange(operations)
                    except JobStateError:
                        self._values.update(before)
                        raise
                else:
                    self.pending.add(operations)
        if flush:
            self.last_write = self.clock.monotonic()

    def _added_to(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Return a change of a stored job with what its class adds. Raises InvalidValue for one that isn't allowed."""
        return operations if self._additions is None else self._additions.to(self, operations)

    def _forget_sizes(self) -> None:
        if self._additions is not None:
            self._additions.forget()

    def append(self, field: str, entries: Iterable[Document], flush: bool = True) -> None:
        """Write entries of a history."""
        self.write([Append(field, entry, self.history_limit) for entry in entries], flush)

    def touch(self) -> None:
        """Store the time alone, if the run's last write was a third of STALLED_AFTER ago; what waits still waits."""
        limit = stalled_after(self.stored or {})
        if self.run is None or self.is_gathering or limit is None:
            return
        if self.clock.monotonic() - self.last_write >= limit / 3:
            with self._turn():
                self._take_over(self.run.write([Max("updatedAt", self.now())]), ())
            self.last_write = self.clock.monotonic()

    def gathered(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Call ``function`` with its writes waiting for the next one, for example the one that settles the run."""
        before, self.is_gathering = self.is_gathering, True
        try:
            function(*args, **kwargs)
        finally:
            self.is_gathering = before

    def _write_new(self, operations: Sequence[Operation], flush: bool) -> None:
        """Change a job that was never saved; ``flush`` saves it. If that fails, nothing changes."""
        before = self.attributes.changed_by(operations)
        history = {field: list(entries) for field, entries in (self._history or {}).items()}
        self._apply_locally(operations)
        if flush:
            try:
                self.save()
            except Exception:
                self._values.update(before)
                self._history = history
                raise

    def _turn(self) -> AbstractContextManager[object]:
        """Return the lock by which the threads of a run write in turn, lest an older answer replace a newer token."""
        return _NO_TURN if self.run is None else self.run.turn

    def _exchange(self, operations: Sequence[Operation] = (), cas: int | None = None) -> None:
        """Send what waits together with ``operations``, in one write. If it is refused, what waited still waits."""
        waiting = self.pending.take()
        if not waiting and not operations:
            return
        try:
            mutation, left = self._send(waiting, operations, cas)
        except BaseException as error:
            if not isinstance(error, AmbiguousWrite):  # that may be stored: sending it again could apply it twice
                self.pending.add_before(waiting)
            self._history = None  # it shows what may not be stored
            self._forget_sizes()
            raise
        self.pending.add_before(left)
        if mutation is not None:
            self._take_over(mutation, [o for o in (*waiting, *operations) if o not in left])

    def _send(
        self, waiting: list[Operation], operations: Sequence[Operation], cas: int | None
    ) -> tuple[Mutation | None, list[Operation]]:
        """Write, and return what was stored, and what of ``waiting`` still has to wait."""
        together = Pending()
        together.add(waiting)
        if self.run is None:
            return outside.write(self, list(together), operations, cas)
        together.add(operations)
        return self.run.write([*together, Max("updatedAt", self.now())], cas), []

    def _take_over(self, mutation: Mutation, sent: Iterable[Operation]) -> None:
        self.token = mutation.token
        self.latest = mutation.values["updatedAt"]
        for field, value in mutation.values.items():
            self.attributes.set(field, value)
        assert self.stored is not None
        self.stored.update(mutation.values)
        for operation in sent:
            if isinstance(operation, Remove) and operation.field not in mutation.values:
                self.stored.pop(operation.field, None)
        if self.run is not None:
            self.run.notice(mutation)

    def _apply_locally(self, operations: Iterable[Operation]) -> None:
        """Show a change on the job object before its document has it."""
        for operation in operations:
            if not isinstance(operation, Append):
                self.attributes.apply(operation)
            elif self._history is not None:
                self._history[operation.field].append(operation.value)

    # the whole head

    def save(self) -> None:
        """Store what differs from the document as this object last read it, if that is the current one.

        The first one creates it. Raises ``casException`` on a stale token, also if there is nothing to store.
        """
        datastore = self.engine.datastore
        self._values["completeness"] = share(self._values["completeness"])
        if self.stored is None:
            document = self.new()
            # A job that was given a token by hand claims to be stored already: the token decides.
            token = datastore.set_with_cas(self.key, document, self.token)[1]
            self.stored, self.token = document, token
            return
        try:
            with self._turn():
                operations = self._added_to(self._differences())
                if not operations and not [*self.pending]:
                    if self.run is None:
                        self._check_token()
                        return
                    operations = [Max("updatedAt", self.now())]
                self._exchange(operations, cas=self.token)
        except datastore.casException:
            if self.run is not None:
                self._stop_if_asked(self.run)
            raise

    @property
    def has_changes(self) -> bool:
        """True if ``save`` has something to store."""
        return self.stored is None or bool([*self.pending]) or bool(self._differences())

    def new(self) -> Document:
        """Return the document of a job that isn't stored yet. Raises InvalidValue for what could not be read again."""
        document = {**self.attributes.dump(), **self.dump_history(), **self.declaration.marks()}
        self.attributes.check_engine_fields(document)
        if self.history_limit != self.engine.datastore.history_limit:
            document["maxEvents"] = self.history_limit
        if self._job_class.STALLED_AFTER != STALLED_AFTER:
            document["stalledAfter"] = self._job_class.STALLED_AFTER
        if self._additions is not None:
            self._additions.to_new(self, document)
        return document

    def _check_token(self) -> None:
        datastore = self.engine.datastore
        if datastore.read_with_cas(self.key, head=True)[1] != self.token:
            raise datastore.casException(
                f"job {self.uuid} was changed or removed since it was read here; nothing was written"
            )

    def _stop_if_asked(self, run: Run) -> None:
        """Raise Cancelled or Paused if the run was asked to stop meanwhile: then it is to do that, not to fail."""
        head = self.engine.datastore.read_with_cas(self.key, head=True)[0] or {}
        if head.get("epoch") == self._values["epoch"] and head.get("cancelRequested") is not None:
            run.cancel(is_to_pause(head))
            run.check()

    def _differences(self) -> list[Operation]:
        assert self.stored is not None
        waiting = {operation.field for operation in self.pending}
        return differences(self.declaration, self.stored, self.attributes.dump(), waiting)

    def reload(self, history: bool = True) -> None:
        """Read the document again into the object, with its history in the same read if ``history`` is set.

        Changes that wait stay; attributes outside the schema are not touched. Raises JobNotFound, CorruptDocument.
        """
        document, token = self.engine.datastore.read_with_cas(self.key, head=not history)
        if document is None or token is None:
            raise JobNotFound(f"there is no job {self.uuid}: removed, or submitted in an uncommitted transaction")
        check_head(self.key, document)
        self.show(without_history(document), token)
        if history:
            self._history = {field: document.get(field) or [] for field in HISTORY}
        self._apply_locally(self.pending)

    def record_change(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function that changes the job, then save; after a concurrent write reload and start again.

        Raises TooManyCollisions after 200 tries; the change is not stored then.
        """
        unsaved = [] if self.stored is None else self._differences()
        attempts = Attempts(self.engine.datastore, self.key, unanswered=0)
        while True:
            result = function(*args, **kwargs)
            if self.stored is None and not self.token:  # a refusal is no collision: another job has this uuid
                self.save()
                return result
            with attempts:
                self.save()
                return result
            self._reload_below(unsaved)

    def _reload_below(self, unsaved: list[Operation]) -> None:
        """Reload, and keep what had been assigned on this object and not saved.

        Raises ``casException`` if another writer changed one of those fields, too: the caller has to choose a value.
        """
        before = dict(self.stored or {})
        self.reload(history=False)
        assert self.stored is not None
        for operation in unsaved:
            if self.stored.get(operation.field) != before.get(operation.field):
                raise self.engine.datastore.casException(
                    f"{operation.field} of job {self.uuid} was changed here and by another client; this "
                    "change is not stored"
                )
        self._apply_locally(unsaved)

    def absorb_ticks(self, delta: float) -> None:
        """Add ``delta`` and the ticks not yet recorded to the completeness, and each tick once.

        The stored ticks are part of it, so outside a run this is a compare-and-swap; a run is the only writer of them.
        While another process runs the job, they belong to that run.
        """
        with self._turn():
            if self.run is not None or self.stored is None or self.is_gathering:
                self.write(self._absorbing(delta))
            else:
                attempts = Attempts(self.engine.datastore, self.key, unanswered=0)
                while True:
                    check(added := self._absorbing(delta))
                    with attempts:
                        self._exchange(added, cas=self.token)
                        break
                    self.reload(history=False)
        self.last_write = self.clock.monotonic()

    def _absorbing(self, delta: float) -> list[Operation]:
        is_foreign = self.run is None and self._values["owner"] is not None
        return absorbing(self._values, delta, self.pending if is_foreign else None)


def document_of(job: StoredJob) -> JobDocument:
    """Return the document of a job object; made at its first use."""
    try:
        return job._document
    except AttributeError:
        document = job._document = JobDocument(type(job), vars(job))  # type: ignore[arg-type]
        return document
