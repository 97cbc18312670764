"""Handle settlements that were not stored: retry, shorten, give up, drop.

After an outage a settlement is sent again under the same numbers, for as long as it takes. One that its own document
or values make fail would be refused for ever. So it is shortened to result and reason; if its document refuses that,
too, its job is given up by compare-and-swap; if even that can't be written, it is dropped with a log line, and
``zerog doctor`` reports the document.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from math import inf

from zerog.engine.engine import Engine
from zerog.engine.transitions import Settled, Settlement, build_of, erred, error_record, stamp
from zerog.exceptions import (
    CorruptDocument,
    DatastoreError,
    InvalidValue,
    QueueError,
    SchemaTooNew,
    TooManyCollisions,
    ZerogError,
)
from zerog.maintenance.losses import take_back
from zerog.records.fingerprints import fingerprint
from zerog.records.job import INTERNAL_ERROR
from zerog.support.clock import Clock, to_text

log = logging.getLogger("zerog")

LONGEST_PAUSE = 5.0
"""Seconds between two tries to store one settlement, at most."""

LASTING = (
    InvalidValue,
    CorruptDocument,
    SchemaTooNew,
    TooManyCollisions,
    TypeError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
)
"""Errors that a document or the values for it raise, however often the write is tried."""


def settle_once(engine: Engine, settlement: Settlement, clock: Clock) -> Settled:
    """Settle one run in a separate call; if an outage's exception is returned, the settlement must be sent again."""
    return settled_at_last(engine, [settlement], engine.settle([settlement]), clock)[0]


def settled_at_last(
    engine: Engine, settlements: Sequence[Settlement], answers: Sequence[Settled], clock: Clock
) -> list[Settled]:
    """Return the answers; for a settlement that its document has refused for good, the result of the fallback.

    A run whose job was rescued while an outage kept it from being settled does not count as lost. The slots of runs
    that are over are given back.
    """
    pairs = zip(settlements, answers, strict=True)
    last = [_settled_at_last(engine, settlement, answer, clock) for settlement, answer in pairs]
    bound = [each for each, answer in zip(settlements, last, strict=True) if each.claim.is_bound and _is_over(answer)]
    if bound:
        engine.settle_slots(bound)
    return last


def _is_over(answer: Settled) -> bool:
    return not isinstance(answer, Exception)


def _settled_at_last(engine: Engine, settlement: Settlement, answer: Settled, clock: Clock) -> Settled:
    if answer is False and settlement.tries:
        _take_back(engine, settlement)
    if not isinstance(answer, LASTING):
        return answer
    if not settlement.is_short:
        _shorten(engine, settlement, answer, clock)
        [answer] = engine.settle([settlement])
        if not isinstance(answer, LASTING):
            return answer
    return _give_up(engine, settlement, answer)


class Postponed:
    """Settlements that could not be stored because of an outage, each with the time of its next try."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Settlement]] = []
        self.next_at = inf
        """Time of the next one, by the monotonic clock; infinity if there is none."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, settlement: Settlement, now: float) -> None:
        """Schedule a settlement to be sent again, after a pause that is longer each time."""
        pause = min(0.05 * 2 ** min(settlement.tries, 10), LONGEST_PAUSE)
        settlement.tries += 1
        # Jittered, so that workers that were cut off together don't reconnect together.
        self._waiting.append((now + pause * random.uniform(0.5, 1.0), settlement))
        self._note_next()

    def take(self, now: float) -> list[Settlement]:
        """Remove and return those that are due at ``now``."""
        due = [settlement for at, settlement in self._waiting if at <= now]
        self._waiting = [(at, settlement) for at, settlement in self._waiting if at > now]
        self._note_next()
        return due

    def _note_next(self) -> None:
        self.next_at = min((at for at, _ in self._waiting), default=inf)


class Outage:
    """Logs the beginning and the end of an outage, once each."""

    def __init__(self, what: str) -> None:
        """Make it with ``what``, a verb for the log line: what the worker can't do during the outage."""
        self._what = what
        self._is_on = False

    def note(self, trouble: Exception | None, is_over: bool) -> None:
        """Take note of a call: of its error, or of whether it shows that everything works again."""
        if trouble is not None and not self._is_on:
            self._is_on = True
            expected = isinstance(trouble, (DatastoreError, QueueError, OSError))
            text = "waiting for the datastore or queue: the worker can't %s: %s"
            log.warning(text, self._what, trouble, exc_info=None if expected else trouble)
        elif trouble is None and is_over and self._is_on:
            self._is_on = False
            log.warning("the datastore answers again: the worker can %s", self._what)


def end_of(settlement: Settlement) -> str:
    """Return the end of a run in one word: the status of its job, or requeued or released."""
    if settlement.status is not None:
        return settlement.status
    if settlement.kind != "finish":
        return {"requeue": "requeued", "release": "released", "park": "parked"}[settlement.kind]
    return "succeeded" if 200 <= settlement.result_code < 300 else "failed"


def _shorten(engine: Engine, settlement: Settlement, error: Exception, clock: Clock) -> None:
    """Shorten a settlement to its result and the reason. A job that waits again does so; any other end is a failure."""
    claim = settlement.claim
    log.error("the end of the run of job %s is refused and is shortened to its reason: %s", claim.uuid, error)
    settlement.is_short, settlement.prepared, settlement.operations = True, None, []
    if settlement.kind in ("release", "park"):
        settlement.kind = "release"
        return
    message = f"the end of the run could not be stored: {type(error).__name__}: {error}"
    at = stamp(claim.head, to_text(clock.now()))
    record = error_record(at, INTERNAL_ERROR, message, claim.head.get("attempts"), build_of(claim.head))
    record["fingerprint"] = fingerprint(str(claim.head.get("jobType")), type(error).__name__, "end")
    settlement.kind, settlement.result_code, settlement.status = "finish", INTERNAL_ERROR, None
    settlement.operations = erred(record, engine.kept(claim.head))


def _take_back(engine: Engine, settlement: Settlement) -> None:
    claim = settlement.claim
    try:
        why = "its run had ended in an outage, before another worker took the job; it does not count as lost"
        take_back(engine, claim.uuid, claim.nonce, why)
    except ZerogError as error:
        log.warning("job %s: its run counts as lost, which an outage has caused: %s", claim.uuid, error)


def _give_up(engine: Engine, settlement: Settlement, error: Exception) -> Settled:
    claim = settlement.claim
    try:
        return engine.give_up(claim, f"its end could not be stored: {error}", is_release=settlement.kind == "release")
    except LASTING as last:
        log.error("job %s is left as it is: neither its end nor giving it up can be stored: %s", claim.uuid, last)
        return False
    except Exception as outage:
        return outage
