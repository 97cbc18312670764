"""Named places between two writes, where tests make the process die, fail or lose an answer.

``failpoint("claim.written")`` is a no-op unless that name is armed. ``POINTS`` lists every name, so that a test can
visit all of them; an unlisted name is refused when armed and when reached while armed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from zerog.exceptions import AmbiguousWrite

POINTS = (
    "submit.create",  # before the document is written
    "submit.created",  # the document is stored, its answer not yet read
    "submit.put",  # before the uuid is put on the queue
    "submit.mark",  # put, not yet marked as queued
    "submit.marked",  # marked, the answer not yet read
    "unique.lock",  # before the lock of a unique job is written
    "unique.locked",  # stored, the answer not yet read
    "unique.replace",  # before a waiting job gets the parameters of another submit
    "unique.replaced",  # stored, the answer not yet read
    "unique.drop",  # before the lock of a job is removed that is about to be removed
    "unique.dropped",  # removed, the answer not yet read
    "limit.take",  # before a run takes a slot, or the lane is listed in which its job is to be parked
    "limit.taken",  # stored, the answer not yet read
    "limit.change",  # before slots are given back, or kept for the next parked job
    "limit.changed",  # stored, the answer not yet read
    "limit.wake",  # before a parked job is made to wait for a worker
    "limit.woken",  # stored, the answer not yet read
    "limit.put",  # woken, not yet on the queue
    "limit.mark",  # put, not yet marked as queued
    "limit.marked",  # marked, the answer not yet read
    "enqueue.write",  # before a stored document is made to wait
    "enqueue.written",  # stored, the answer not yet read
    "claim.reserved",  # an entry is reserved, nothing is written
    "claim.write",  # verified, about to write
    "claim.written",  # the owner is stored, the answer not yet read
    "claim.ack",  # won, the entry still on the queue
    "aside.list",  # before the kind of a refused entry is listed
    "aside.listed",  # listed, the answer not yet read
    "aside.put",  # before a refused entry is put on the queue of its kind
    "aside.note",  # put there, the document not yet changed to name it
    "aside.ack",  # put there, the entry still on its queue, too
    "run.write",  # before a write of a running job
    "run.written",  # stored, the answer not yet read
    "settle.write",  # before the outcome is written
    "settle.written",  # the outcome is stored, the answer not yet read
    "settle.put",  # requeued in the document, not yet on the queue
    "settle.mark",  # put again, not yet marked as queued
    "settle.marked",  # marked, the answer not yet read
    "rescue.write",  # before a job is taken from a dead owner
    "rescue.written",  # taken, the answer not yet read
    "rescue.put",  # taken, not yet on the queue
    "rescue.mark",  # put, not yet marked as queued
    "rescue.marked",  # marked, the answer not yet read
    "loss.write",  # before a rescue is uncounted whose worker returned
    "loss.written",  # stored, the answer not yet read
    "cancel.write",  # before a cancellation is written
    "cancel.written",  # stored, the answer not yet read
    "cancel.end",  # before a waiting job is ended that its run was to end
    "cancel.ended",  # stored, the answer not yet read
    "pause.write",  # before a pause is written
    "pause.written",  # stored, the answer not yet read
    "resume.write",  # before a paused job is made to wait
    "resume.written",  # stored, the answer not yet read
    "resume.put",  # waits, not yet on the queue
    "resume.mark",  # put, not yet marked as queued
    "resume.marked",  # marked, the answer not yet read
    "expire.write",  # before a waiting job is ended whose time is over
    "expire.written",  # stored, the answer not yet read
    "retry.write",  # before a job that has ended is made to wait
    "retry.written",  # stored, the answer not yet read
    "edit.write",  # before an operator's change is written
    "edit.written",  # stored, the answer not yet read
    "move.withdraw",  # before the entry of a job that is moved is taken off its queue
    "move.write",  # before a waiting job is moved to another queue or priority
    "move.written",  # stored, the answer not yet read
    "move.put",  # moved in the document, not yet on its new queue
    "move.mark",  # put there, not yet marked as queued
    "move.marked",  # marked, the answer not yet read
    "cancel.hint",  # stored, the owner not yet notified
    "discard.delete",  # before an ended job is removed
    "discard.deleted",  # removed, the answer not yet read
    "follow.note",  # a follower is submitted, its job not yet changed to note that
    "follow.noted",  # noted, the answer not yet read
    "reconcile.put",  # before a repair puts an entry
    "reconcile.mark",  # a repair has put an entry, not yet marked
    "reconcile.marked",  # marked, the answer not yet read
)


class InjectedFailure(BaseException):
    """Raised at a crash point that was armed with ``raise``, as if the process died there: no error is handled."""


_hook: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Mark a place between two writes. A no-op unless armed."""
    if _hook is not None:
        _hook(name)


def arm(name: str, action: str, skip: int = 0) -> None:
    """Make ``failpoint(name)`` act, once, after it was passed ``skip`` times.

    ``action``: ``kill`` (SIGKILL to this process), ``raise`` (InjectedFailure) or ``unknown`` (AmbiguousWrite, as if
    the answer to the previous write were lost).
    """
    if name not in POINTS:
        raise ValueError(f"no crash point is called {name!r}; known: {', '.join(POINTS)}")
    if action not in ("kill", "raise", "unknown"):
        raise ValueError(f"a crash point can kill, raise or unknown, not {action!r}")
    left = skip

    def hook(reached: str) -> None:
        nonlocal left
        if reached != name:
            return
        if left:
            left -= 1
            return
        disarm()
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "raise":
            raise InjectedFailure(f"injected at {name}")
        raise AmbiguousWrite(f"injected at {name}: the answer was lost")

    watch(hook)


def watch(hook: Callable[[str], None]) -> None:
    """Call ``hook`` with the name of every point that is reached."""
    global _hook
    _hook = hook


def disarm() -> None:
    """Make every point a no-op again."""
    global _hook
    _hook = None
