"""Move a waiting job to another queue, or give it another priority.

The entry is withdrawn first, then the document names its new place, then the job is put there. A crash in between
leaves a waiting job without an entry, or a pending one, and reconcile puts either. An entry that can't be withdrawn,
because its queue can't look it up or is delivering it, leads to no run: a delivery by a queue that the document doesn't
name is dropped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from zerog.contracts.queue import Entry, check_options
from zerog.engine import joblog, transitions
from zerog.engine.set_aside import SetAside
from zerog.exceptions import ConfigurationError, JobStateError, QueueError
from zerog.records.fields import IN_QUEUE, PENDING
from zerog.records.job import WAITING, Document, check_layout, make_key
from zerog.records.operations import Append, Max, Operation, Set, apply
from zerog.support.checks import check_queue_name
from zerog.support.clock import text_after
from zerog.support.failpoints import failpoint


class Place(NamedTuple):
    """Where a job waits."""

    queue: str
    priority: int

    def __str__(self) -> str:
        return f"queue {self.queue}, priority {self.priority}"


class MoveVerb(SetAside):
    """The verb for moving a waiting job."""

    def move(
        self, uuid: str, queue: str | None = None, priority: int | None = None, reason: str = "", who: str = ""
    ) -> bool:
        """Move a waiting job to another queue, to another priority, or both; False if it is there already.

        It starts when it would have started. An event records who moved it, from where, and why. Raises JobNotFound,
        JobStateError for a job that doesn't wait, InvalidValue for a priority that a queue can't honour,
        ConfigurationError for a queue that can't be, AmbiguousWrite if it is unknown whether the job has moved.
        """
        check_options(0, 0 if priority is None else priority, None)
        if queue is not None:
            self.queue_named(check_queue_name(queue))
        key = make_key(uuid)
        attempts = self._attempts(key)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            if head["status"] not in WAITING:
                raise JobStateError(
                    f"job {uuid} is {head['status']}; only a job that waits can be moved. Nothing was changed."
                )
            place = Place(head["queueName"], head["priority"])
            to = Place(place.queue if queue is None else queue, place.priority if priority is None else priority)
            if to == place:
                if attempts.unanswered and head["queueState"] == PENDING:
                    self._deliver(key, head, token, max(0.0, self.early_by(head)), "move")
                return bool(attempts.unanswered)
            self._withdraw(head)
            now = self._now()
            text = f"moved{f' by {who}' if who else ''} from {place} to {to}{f': {reason}' if reason else ''}"
            event = transitions.event_record(transitions.stamp(head, now), text, **({"who": who} if who else {}))
            operations = _moved(to, event, now, self.kept(head))
            with attempts:
                failpoint("move.write")
                token = self.datastore.mutate(key, operations, cas=token).token
                failpoint("move.written")
                apply(head, [operation for operation in operations if not isinstance(operation, Append)])
                joblog.moved(head, text)
                self._deliver(key, head, token, max(0.0, self.early_by(head)), "move")
                return True

    def _withdraw(self, head: Document) -> None:
        """Take the entry of a waiting job off its queue, or off that of its kind, if it is there and the queue can."""
        if head["queueState"] != IN_QUEUE:
            return
        entry = Entry(head["queueJobId"], head["uuid"], head["priority"], head["queueKwargs"].get("ttr"))
        failpoint("move.withdraw")
        with suppress(QueueError, ConfigurationError):  # a later delivery is dropped
            if not self.queue_named(head["queueName"]).withdraw(entry):
                self.look_up_kinds()
                aside = self.aside_of(head)
                if aside is not None:
                    self.queue_named(aside).withdraw(entry)


def _moved(to: Place, event: Document, now: str, keep: int) -> list[Operation]:
    """Return the operations for a waiting job that is to be put on another place, by this writer or by reconcile."""
    return [
        Set("queueName", to.queue),
        Set("priority", to.priority),
        Set("queueState", PENDING),
        Set("due", text_after(now, transitions.PENDING_GRACE)),
        Append("events", event, keep),
        Max("updatedAt", now),
    ]
