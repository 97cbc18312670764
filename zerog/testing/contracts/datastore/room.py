"""Rules about the room that a document reserves for the engine; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

import pytest

from zerog.contracts.datastore import Datastore, RunGuard
from zerog.exceptions import InvalidValue
from zerog.records.operations import Add, Append, Document, Operation, Set
from zerog.support import jsonvalues
from zerog.support.jsonvalues import JOB_BYTES, MAX_TEXT

KEEP = 1_000
RUN = RunGuard(1, "n")


def fill(datastore: Datastore, key: str, run: RunGuard) -> int:
    """Fill history and head of a document as its run does, until nothing more fits; return the last number."""
    seq = 0
    for number, size in enumerate([JOB_BYTES - 300_000, *(1 << n for n in range(18, 4, -2))]):
        for operation in (Append("events", {"msg": "x" * min(size, 100_000)}, KEEP), Set(f"part{number}", "x" * size)):
            try:
                datastore.mutate(key, [operation], run=run._replace(seq=seq + 1))
                seq += 1
            except InvalidValue:
                continue
    return seq


def long_error() -> Document:
    """Return an error record as long as the engine's longest, in characters of three bytes."""
    return {"timestamp": "2026", "errorCode": 500, "msg": "✗" * MAX_TEXT, "traceback": "x" * MAX_TEXT}


class RoomRules:
    """Rules for a document that a job has filled."""

    def test_a_full_document_takes_what_the_engine_writes(self, datastore: Datastore, key: str) -> None:
        """A cancellation, many releases, and the end with the longest error fit."""
        lists: Document = {"events": [], "errors": [], "warnings": []}
        datastore.create(key, {"status": "running", "epoch": 1, "seq": 0, "owner": {"nonce": "n"}, **lists})
        seq = fill(datastore, key, RUN)
        datastore.mutate(key, [Set("cancelRequested", "2026"), Append("events", {"msg": "cancelled"}, KEEP)], run=RUN)
        for n in range(3):
            token = datastore.read_with_cas(key, head=True)[1]
            event = Append("events", {"n": n, "msg": "y" * 1_000}, KEEP)
            taken: list[Operation] = [Set("owner", None), Set("status", "queued"), Set("queueState", "pending"), event]
            token = datastore.mutate(key, taken, cas=token).token
            datastore.mutate(key, [Set("owner", {"nonce": "n"}), Set("status", "running")], cas=token)
        error = long_error()
        last = {**error, "msg": "✗" * 500, "traceback": ""}
        ended: list[Operation] = [Append("errors", error, KEEP), Set("lastError", last), Add("errorCount", 1)]
        ended += [Set("owner", None), Set("status", "failed"), Set("finishedAt", "2026-01-01T00:00:00.000000+00:00")]
        datastore.mutate(key, ended, run=RUN._replace(seq=seq + 1))
        document = datastore.read(key) or {}
        assert (document["status"], document["owner"], document["errorCount"]) == ("failed", None, 1)
        assert (document["cancelRequested"], document["errors"]) == ("2026", [error])
        assert [entry["n"] for entry in document["events"] if "n" in entry][-1] == 2

    def test_a_history_makes_room_for_itself(self, datastore: Datastore, key: str) -> None:
        """An entry of a bounded list is never refused because of older ones: the oldest are dropped, and counted."""
        datastore.create(key, {"status": "running", "events": [], "warnings": []})
        for n in range(10):
            datastore.mutate(key, [Append("events", [n, "x" * 900_000], KEEP)])
            datastore.mutate(key, [Append("warnings", [n, "x" * 200_000], KEEP)])
        document = datastore.read(key) or {}
        for field in ("events", "warnings"):
            numbers = [entry[0] for entry in document[field]]
            assert numbers == list(range(10 - len(numbers), 10)) and numbers
            assert document.get(f"{field}Dropped", 0) == 10 - len(numbers)

    def test_a_history_is_bounded_by_its_bytes(self, datastore: Datastore, key: str) -> None:
        """However many entries it may have: the newest stay, and dropped ones are counted."""
        datastore.create(key, {"status": "running", "events": []})
        entry = "x" * 2_000_000
        for n in range(12):
            datastore.mutate(key, [Append("events", [n, entry], 10_000)])
        document = datastore.read(key) or {}
        numbers = [number for number, _ in document["events"]]
        assert numbers == list(range(12 - len(numbers), 12)) and document["eventsDropped"] == 12 - len(numbers)
        assert 1 <= len(numbers) <= jsonvalues.HISTORY_BYTES // len(entry)

    def test_a_job_leaves_the_room(self, datastore: Datastore, key: str) -> None:
        """A document as large as a caller may make one accepts nothing more from a job, until it is made smaller."""
        datastore.create(key, {"status": "queued", "events": [], "part": "x" * (JOB_BYTES - 1_000)})
        before = datastore.read_with_cas(key)
        with pytest.raises(InvalidValue, match="bytes"):
            datastore.mutate(key, [Set("another", "x" * 200_000)])
        assert datastore.read_with_cas(key) == before
        datastore.mutate(key, [Set("part", None), Set("another", "x" * 200_000)])
        assert (datastore.read(key) or {})["another"] == "x" * 200_000
