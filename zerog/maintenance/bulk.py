"""Do one thing to many jobs, one after the other, each by its own write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from zerog.exceptions import ConfigurationError, DatastoreUnavailable, ZerogError
from zerog.maintenance.receipts import Doubt, Outcome, Receipt

Act = Callable[[str, "str | None"], str]
"""Does it to the job of a uuid; returns what became of it in a word or two. The last argument is the time at which the
job had ended when it was found: if it has ended again since, it may not be meant any more."""

Found = Iterable["Mapping[str, Any] | str"]
"""Jobs by their uuid, or as ``App.jobs`` shows them."""

IN_DOUBT = "an earlier run was cut off at this job and may have done it: "


class Bulk:
    """One action on many jobs, as ``App.bulk`` prepares it."""

    def __init__(self, act: Act, limit: int | None = None, receipt: Receipt | None = None) -> None:
        self._act = act
        self._limit = limit
        self._receipt = receipt

    def count(self, jobs: Found) -> int:
        """Return to how many of these jobs ``run`` would do it, by reading them."""
        return sum(1 for _ in self._left(jobs))

    def run(self, jobs: Found) -> Iterator[Outcome]:
        """Do it to each job, and yield what became of each as soon as it is done. The receipt is closed at the end.

        Jobs with a line in the receipt are left out; one whose line was begun and not ended comes first. An error of
        one job doesn't stop it. Raises DatastoreUnavailable and ConfigurationError, since all further jobs would fail,
        too; the receipt continues there.
        """
        with closing(self):
            if self._receipt is not None and self._receipt.doubt is not None:
                yield self._noted(self._receipt, self._receipt.doubt, IN_DOUBT)
            for place in self._left(jobs):
                yield self._done(place) if self._receipt is None else self._noted(self._receipt, place)

    def close(self) -> None:
        """Close the receipt, if there is one."""
        if self._receipt is not None:
            self._receipt.close()

    def _left(self, jobs: Found) -> Iterator[Doubt]:
        """Yield the jobs that have no line in the receipt; ``limit`` counts those with one, too."""
        settled = frozenset[str]() if self._receipt is None else frozenset(self._receipt.settled)
        left = None if self._limit is None else self._limit - len(settled)
        for job in jobs:
            if left is not None and left <= 0:
                return
            place = Doubt(job, None) if isinstance(job, str) else Doubt(str(job["uuid"]), job.get("finishedAt"))
            if place.uuid not in settled:
                left = None if left is None else left - 1
                yield place

    def _noted(self, receipt: Receipt, place: Doubt, remark: str = "") -> Outcome:
        receipt.begin(*place)
        outcome = self._done(place)
        if outcome.why is not None:
            outcome = outcome._replace(why=f"{remark}{outcome.why}")
        receipt.end(outcome)
        return outcome

    def _done(self, place: Doubt) -> Outcome:
        try:
            return Outcome(place.uuid, True, self._act(*place), None)
        except (DatastoreUnavailable, ConfigurationError):
            raise
        except ZerogError as error:
            return Outcome(place.uuid, False, None, str(error))
