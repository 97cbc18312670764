"""``OperatorVerbs``: the part of ``App`` that changes jobs by hand, one of them or many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerog.engine.operator import Change, OnDiscard
from zerog.exceptions import InvalidValue
from zerog.jobs.backlog import Backlog
from zerog.jobs.discarding import discarder
from zerog.jobs.parameters import change_of
from zerog.jobs.submit_options import check_named, check_token
from zerog.maintenance.bulk import Bulk
from zerog.maintenance.receipts import Receipt
from zerog.records.job import CANCELLED_STATUS, PAUSED, Document

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.engine.engine import Engine
    from zerog.registry import JobRegistry

STOPPING, THERE = "asked to stop", "there already"
"""What became of a job whose run is to notice that it is to stop, and of one that is where it was to be moved."""


class OperatorVerbs:
    """Cancels, pauses, retries, moves, edits and removes jobs."""

    engine: Engine
    registry: JobRegistry
    _backlog: Backlog

    @property
    def _on_discard(self) -> OnDiscard:
        return discarder(self)  # type: ignore[arg-type]

    def cancel(self, uuid: str) -> str:
        """Cancel a job; returns ``cancelled``, or ``running`` until the run has noticed. Raises JobStateError."""
        return self.engine.cancel(uuid)

    def retry(
        self, uuid: str, reason: str = "", who: str = "", ended: str | None = None, *, reset: bool = True
    ) -> None:
        """Let a job that has ended run again, from the state it has; recorded in its events.

        ``ended``: the ``finishedAt`` that was read; a job that has ended again since is left alone. ``reset``: with
        all of its counters at 0; without it errors and continues count on, so that a job that had used up its
        MAX_ERRORS gets one more try. Raises JobNotFound, and JobStateError for a job that hasn't ended, or not then.
        """
        self.engine.retry(uuid, reason, who, ended, reset)

    def pause(self, uuid: str, reason: str = "", who: str = "") -> str:
        """Pause a job; returns ``paused``, or ``running`` until its run has stopped at its next write or tick.

        A waiting job doesn't start and keeps its place, whatever restarts or is deployed meanwhile. ``Paused`` is
        raised in a run, which isn't counted; another one goes on from the stored state after ``resume``. The job shows
        ``reason`` and ``who``; one that is paused already keeps its own. Raises JobNotFound, InvalidValue, and
        JobStateError for a job that has ended, is being cancelled or was never enqueued.
        """
        return self.engine.pause(uuid, reason, who)

    def resume(self, uuid: str, who: str = "") -> str:
        """Let a paused job go on, on the code that is there then; returns its status.

        Raises JobNotFound, InvalidValue, and JobStateError for a job that isn't paused.
        """
        return self.engine.resume(uuid, who)

    def move(
        self, uuid: str, queue: str | None = None, *, priority: int | None = None, reason: str = "", who: str = ""
    ) -> bool:
        """Move a waiting job to another queue, to another priority, or both; recorded in its events.

        It starts when it would have started, and no worker of the earlier queue takes it any more. False if it is there
        already. Raises JobNotFound, JobStateError for a job that doesn't wait, InvalidValue for a priority that is no
        whole number of 32 bits or a name that no queue can have, ConfigurationError for a queue that can't be here,
        QueueFull if as many jobs wait as an operator allows on the other queue; the job stays where it is then.
        """
        if queue is not None:
            self._backlog.admit_move(uuid, queue)
        return self.engine.move(uuid, queue, priority, reason, who)

    def edit(
        self,
        uuid: str,
        params: Mapping[str, Any],
        *,
        who: str,
        reason: str,
        retry: bool = False,
        cas: int | str | None = None,
        dry_run: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Change some parameters of a job that waits or has ended; the rest stay. An event records who, why and what.

        The parameters are validated as a whole, and written only if the job was not changed meanwhile: since it was
        read here, or since it had the token ``cas``. ``retry`` lets a job that has ended run again by the same write;
        ``dry_run`` writes nothing. Returns ``{"old": …, "new": …}`` by field, of fields that change; secrets hidden.

        Raises JobNotFound, UnknownJobType, JobStateError for a job that runs, marshmallow's ValidationError with
        messages by field, InvalidValue, CasMismatch (or the datastore's own ``casException``), SchemaTooNew.
        """
        check_named(who, "who")
        check_named(reason, "reason")
        seen = None if cas is None else check_token(cas)

        def build(head: Document) -> Change:
            return change_of(self.registry.class_for(head), head, params)

        return self.engine.edit(uuid, build, who, reason, retry, seen, dry_run).fields

    def discard(
        self, uuid: str, reason: str = "", ended: str | None = None, damaged: bool = False, on_discard: bool = True
    ) -> None:
        """Remove a job that has ended, with its history; ``reason`` is for the log, ``ended`` as for ``retry``.

        ``on_discard``: whether its class's is called. ``damaged``: remove a corrupt document, and no other.
        """
        if damaged:
            return self.engine.discard_damaged(uuid, reason)
        return self.engine.discard(uuid, reason, ended, self._on_discard if on_discard else None)

    def bulk(self, verb: str, *, limit: int | None = None, receipt: str | Path | None = None, **options: Any) -> Bulk:
        """Prepare to do one thing to many jobs: ``cancel``, ``retry``, ``discard``, ``move``, ``pause``, ``resume``.

        The answer's ``count(jobs)`` gives their number, and ``run(jobs)`` does it and yields what became of each;
        ``jobs`` are uuids, or what ``App.jobs`` yields. ``options`` are those of the method of that name. ``limit``:
        how many at most. ``receipt``: a file that gets a line of JSON for each job; the same action with the same file
        continues where an earlier run was cut off, and leaves out the jobs that have their line. Raises InvalidValue,
        and ConfigurationError for a file that can't be written or is no receipt of this action; nothing is changed
        then.
        """
        deed = _DEEDS.get(verb)
        if deed is None:
            raise InvalidValue(f"verb={verb!r:.80}; expected one of {', '.join(_DEEDS)}. Nothing was changed.")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidValue(
                f"limit={limit!r:.80}; expected a whole number, 1 or more, or None. Nothing was changed."
            )
        try:
            signature(deed).bind(self, "", None, **options)
        except TypeError as error:
            raise InvalidValue(f"the options of {verb}: {error}. Nothing was changed.") from None
        noted = None if receipt is None else Receipt(receipt, {"verb": verb, "options": options})
        return Bulk(partial(deed, self, **options), limit, noted)


def _cancel(app: App, uuid: str, _ended: str | None) -> str:
    return CANCELLED_STATUS if app.cancel(uuid) == CANCELLED_STATUS else STOPPING


def _retry(app: App, uuid: str, ended: str | None, reason: str = "", who: str = "", *, reset: bool = True) -> str:
    app.retry(uuid, reason, who, ended, reset=reset)
    return "queued"


def _discard(
    app: App, uuid: str, ended: str | None, reason: str = "", damaged: bool = False, on_discard: bool = True
) -> str:
    app.discard(uuid, reason=reason, ended=ended, damaged=damaged, on_discard=on_discard)
    return "removed"


def _move(
    app: App,
    uuid: str,
    _ended: str | None,
    queue: str | None = None,
    *,
    priority: int | None = None,
    reason: str = "",
    who: str = "",
) -> str:
    return "moved" if app.move(uuid, queue, priority=priority, reason=reason, who=who) else THERE


def _pause(app: App, uuid: str, _ended: str | None, reason: str = "", who: str = "") -> str:
    return PAUSED if app.pause(uuid, reason, who) == PAUSED else STOPPING


def _resume(app: App, uuid: str, _ended: str | None, who: str = "") -> str:
    return app.resume(uuid, who)


_DEEDS: dict[str, Callable[..., str]] = {
    "cancel": _cancel,
    "retry": _retry,
    "discard": _discard,
    "move": _move,
    "pause": _pause,
    "resume": _resume,
}
"""What ``bulk`` can do; each takes the app, the uuid, the end by which the job was found, and options."""
