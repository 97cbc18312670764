"""The audit: find the runs that a living worker owns by their documents, but doesn't hold by its record.

A worker's record lists the nonces of the runs that it holds (``held``) and the prefixes of those that it is claiming
(``claiming``). A run is listed before the call that makes its claim, until its end was answered. So no worker has a run
that is not listed: its claim was never answered, or the datastore was rolled back. Its job is released, uncounted.

A record is older than the document it is compared with, so one comparison proves nothing. The document is read first;
then the beat has to grow twice without the nonce. The first growth may have been composed before the document was read.
The second was composed after the first one was stored, which was after that. Then the job is released under the token
that was read, so that a run which has written since is left alone.
"""

from __future__ import annotations

from typing import NamedTuple

from zerog.contracts.datastore import Datastore
from zerog.records.job import Document, make_key

GROWTHS = 2
"""Growths of a worker's beat without a run's nonce before its job is released."""


class _Suspect(NamedTuple):
    token: int
    beat: int
    growths: int


class Audit:
    """Observations of runs that their workers' records don't list."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self._suspects: dict[tuple[str, str], _Suspect] = {}
        self._seen: set[tuple[str, str]] = set()

    def look(self, head: Document, record: Document | None) -> int | None:
        """Compare a running head with its worker's record, read later; return the token if the job is to be released.

        Raises the errors of the datastore.
        """
        nonce = str(head["owner"].get("nonce"))
        run = head["uuid"], nonce
        self._seen.add(run)
        beat = _beat_without(record, nonce)
        suspect = self._suspects.get(run)
        if beat is None:
            self._suspects.pop(run, None)
        elif suspect is None or beat < suspect.beat:
            self._begin(run, head, beat)
        elif beat > suspect.beat:
            suspect = self._suspects[run] = _Suspect(suspect.token, beat, suspect.growths + 1)
            if suspect.growths >= GROWTHS:
                del self._suspects[run]
                return suspect.token
        return None

    def end_course(self) -> None:
        """Forget the runs that were not checked since the last call, once all running jobs were."""
        self._suspects = {run: suspect for run, suspect in self._suspects.items() if run in self._seen}
        self._seen = set()

    def _begin(self, run: tuple[str, str], head: Document, beat: int) -> None:
        """Start to observe a run: the document is read now, before any beat that counts; ``beat`` doesn't."""
        stored, token = self._datastore.read_with_cas(make_key(run[0]), head=True)
        if stored is not None and token is not None and stored.get("owner") == head["owner"]:
            self._suspects[run] = _Suspect(token, beat, 0)


def _beat_without(record: Document | None, nonce: str) -> int | None:
    """Return the beat of a record that lists its worker's runs, but not this one; None for any other record."""
    if record is None:
        return None
    held, claiming, beat = record.get("held"), record.get("claiming"), record.get("beat")
    if type(held) is not list or type(beat) is not int or nonce in held:
        return None
    is_asked_for = type(claiming) is str and claiming != "" and nonce.startswith(claiming)
    return None if is_asked_for else beat
