"""The compare-and-swap loop: read, decide, write; again if the document has changed or the answer was lost."""

from __future__ import annotations

from types import TracebackType

from zerog.contracts.datastore import Datastore
from zerog.exceptions import AmbiguousWrite, CasMismatch, DocumentLocked, TooManyCollisions
from zerog.support.clock import SYSTEM, Clock

TRIES = 200
"""Tries of a change whose document is changed or locked concurrently."""

UNANSWERED = 6
"""Retries of a change whose write got no answer, with growing pauses."""


class Attempts:
    """Tries of one change of one document.

    ::

        attempts = Attempts(datastore, key, clock)
        while True:
            head, token = datastore.read_with_cas(key, head=True)
            ...  # decide, and return if there is nothing to write
            with attempts:
                return datastore.mutate(key, operations, cas=token)

    A write that is refused because the document has changed, or that got no answer, only ends the block; any other
    exception is raised. Raises TooManyCollisions after TRIES refusals, AmbiguousWrite after UNANSWERED lost answers.
    """

    def __init__(
        self,
        datastore: Datastore,
        key: str,
        clock: Clock = SYSTEM,
        also: tuple[type[BaseException], ...] = (),
        unanswered: int = UNANSWERED,
    ) -> None:
        """``also``: further exceptions, beside those of the datastore, which mean that the document has changed.

        ``unanswered``: how many writes may get no answer; 0 for a change that must not be stored twice.
        """
        self._datastore = datastore
        self._most_unanswered = unanswered
        self._key = key
        self._clock = clock
        self._refusals = (*refusals_of(datastore), *also)
        self.refused = 0
        """Number of refused writes so far."""
        self.unanswered = 0
        """Number of writes without an answer so far: each of them may be stored."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, self._refusals):
            self.refused += 1
            if self.refused >= TRIES:
                raise TooManyCollisions(
                    f"{self._key} was changed by others {TRIES} times in a row; this change is not stored"
                ) from error
            self._datastore.give_way()
            return True
        if isinstance(error, AmbiguousWrite):
            self.unanswered += 1
            if self.unanswered <= self._most_unanswered:
                self._clock.pause(pause_after(self.unanswered))
                return True
        return False


def refusals_of(datastore: Datastore) -> tuple[type[Exception], ...]:
    """Return the exceptions by which a datastore refuses a write because the document has changed or is locked."""
    return tuple({datastore.casException, datastore.lockedException, CasMismatch, DocumentLocked})


def pause_after(unanswered: int) -> float:
    """Return the seconds to wait for a datastore after that many lost answers."""
    return float(min(0.01 * 2**unanswered, 0.5))
