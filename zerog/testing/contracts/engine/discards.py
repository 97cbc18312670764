"""Rules of engines: discard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from zerog.engine import transitions
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.exceptions import JobNotFound, JobStateError, SchemaTooNew
from zerog.records.job import Document, make_key
from zerog.records.operations import Set, apply
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.contracts.engine.builders import EngineRules


class DiscardRules(EngineRules):
    """Rules for removals: ended jobs may be removed; nothing else may."""

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "new"])
    def test_what_has_ended_is_discarded(self, engine: Engine, status: str) -> None:
        """The document is gone, its neighbours aren't; a second discard names the job."""
        neighbour = self.submitted(engine)
        uuid = self.ended(engine, status)
        engine.discard(uuid)
        assert engine.datastore.read(make_key(uuid)) is None
        assert engine.read(neighbour)
        with pytest.raises(JobNotFound, match=uuid):
            engine.discard(uuid)

    @pytest.mark.parametrize("delay", [0, 60])
    def test_what_waits_is_not_discarded(self, engine: Engine, delay: float) -> None:
        """It has to be cancelled first, as the error states."""
        uuid = self.submitted(engine, delay)
        before = engine.datastore.read(make_key(uuid))
        with pytest.raises(JobStateError, match="cancel it first"):
            engine.discard(uuid)
        assert engine.datastore.read(make_key(uuid)) == before

    def test_what_runs_is_not_discarded(self, engine: Engine) -> None:
        """Neither while it runs nor once it is being cancelled; the run continues and its result is stored."""
        claim = self.claimed(engine)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        engine.cancel(claim.uuid)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        engine.discard(claim.uuid)

    @pytest.mark.parametrize("verb", ["discard", "retry", "cancel", "enqueue", "rescue", "release"])
    def test_a_newer_layout_is_left_alone(self, engine: Engine, verb: str) -> None:
        """The meaning of its status and its fields is left to newer code."""
        more: tuple[object, ...] = ()
        if verb in ("rescue", "release"):
            claim = self.claimed(engine)
            uuid, more = claim.uuid, (claim.run, "lost", "gone") if verb == "rescue" else (claim.run, "over")
        else:
            uuid = self.ended(engine, "new" if verb == "enqueue" else "failed")
        engine.datastore.mutate(make_key(uuid), [Set("format", 99)])
        before = engine.datastore.read(make_key(uuid))
        with pytest.raises(SchemaTooNew, match=f"{uuid}.*99"):
            getattr(engine, verb)(uuid, *more)
        assert engine.datastore.read(make_key(uuid)) == before

    def test_no_sweep_touches_a_newer_layout(self, engine: Engine) -> None:
        """Neither a run whose worker is silent nor a pending document; both are listed with the reason."""
        claim = self.claimed(engine)
        pending = self.new(engine, format=99)
        apply(pending, transitions.waiting(to_text(engine.clock.now()), 0))
        engine.datastore.create(make_key(pending["uuid"]), pending)
        engine.datastore.mutate(claim.key, [Set("format", 99)])
        before = [engine.datastore.read(make_key(uuid)) for uuid in (claim.uuid, pending["uuid"])]
        report = self.sweep(engine, 3, 40).engine.skipped
        assert [engine.datastore.read(make_key(uuid)) for uuid in (claim.uuid, pending["uuid"])] == before
        assert all("99" in report[uuid] for uuid in (claim.uuid, pending["uuid"]))

    def test_a_delivery_after_the_discard_is_dropped(self, engine: Engine) -> None:
        """A late delivery creates nothing: no run, no document."""
        uuid = self.ended(engine, "cancelled")  # before it was taken off the queue
        engine.discard(uuid)
        engine.queue.put(uuid)
        assert self.claim_all(engine) == []
        assert engine.datastore.read(make_key(uuid)) is None
        if self.lossless:
            assert engine.counters["dropped.unknown"] == 2

    def test_a_retry_is_quicker_than_a_discard(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A job that was retried between reading and deletion isn't removed."""
        uuid = self.ended(engine, "failed")
        delete = engine.datastore.delete

        def beaten(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            engine.retry(uuid)
            return delete(*args, **kwargs)

        monkeypatch.setattr(engine.datastore, "delete", beaten)
        with pytest.raises(JobStateError, match="queued"):
            engine.discard(uuid)
        assert uuid in [claim.uuid for claim in self.claim_all(engine)]

    def test_a_retry_and_a_discard_at_once(self, engine: Engine) -> None:
        """One of the two wins: the job is gone, or it waits again; never do both succeed."""
        uuids = [self.ended(engine, "cancelled") for _ in range(20)]
        barrier = threading.Barrier(2)

        def do(verb: Callable[[str], object]) -> list[bool]:
            done = []
            for uuid in uuids:
                barrier.wait()
                try:
                    verb(uuid)
                    done.append(True)
                except (JobNotFound, JobStateError):
                    done.append(False)
            return done

        with ThreadPoolExecutor(2) as pool:
            retried, discarded = pool.map(do, [engine.retry, engine.discard])
        for uuid, was_retried, was_discarded in zip(uuids, retried, discarded, strict=True):
            assert was_retried != was_discarded
            assert (engine.datastore.read(make_key(uuid)) is None) == was_discarded

    @pytest.mark.parametrize("point", ["discard.delete", "discard.deleted"])
    def test_a_discard_whose_answer_was_lost_is_read_back(self, engine: Engine, point: str) -> None:
        """The job is gone and no error is raised, whether or not it had happened."""
        uuid = self.ended(engine, "succeeded")
        failpoints.arm(point, "unknown")
        try:
            engine.discard(uuid)
        finally:
            failpoints.disarm()
        assert engine.datastore.read(make_key(uuid)) is None

    def test_many_are_removed_each_as_it_was_seen(self, engine: Engine) -> None:
        """Jobs that were retried, have ended anew or are gone meanwhile are left out of the answer, and unharmed."""
        uuids = [self.ended(engine, "failed") for _ in range(5)]
        heads = [self.head(engine, uuid) for uuid in uuids]
        engine.retry(uuids[0])
        engine.retry(uuids[1])
        self.pass_time(engine, 1)
        [claim] = [claim for claim in self.claim_all(engine) if claim.uuid == uuids[1]]
        assert engine.settle([Settlement(claim, "finish", 1, 500)]) == [True]
        engine.discard(uuids[2])
        assert engine.discard_all(heads, "too old") == uuids[3:]
        assert [engine.datastore.read(make_key(uuid)) is not None for uuid in uuids] == [True, True, *[False] * 3]
        assert engine.counters["removed.old"] == 2
        assert engine.discard_all([], "too old") == []

    @pytest.mark.parametrize("point", ["discard.delete", "discard.deleted"])
    def test_a_lost_answer_among_many_is_found_out_next_time(self, engine: Engine, point: str) -> None:
        """No error; after a second call all are gone."""
        heads = [self.head(engine, self.ended(engine, "failed")) for _ in range(3)]
        failpoints.arm(point, "unknown")
        try:
            engine.discard_all(heads, "too old")
        finally:
            failpoints.disarm()
        engine.discard_all(heads, "too old")
        assert [engine.datastore.read(make_key(head["uuid"])) for head in heads] == [None] * 3

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "new"])
    def test_on_discard_is_called_before_the_document_goes(self, engine: Engine, status: str) -> None:
        """Once, with its head."""
        uuid = self.ended(engine, status)
        called: list[tuple[str, bool]] = []

        def on_discard(head: Document) -> None:
            called.append((head["uuid"], engine.datastore.read(make_key(uuid)) is not None))

        engine.discard(uuid, on_discard=on_discard)
        assert called == [(uuid, True)]
        assert engine.datastore.read(make_key(uuid)) is None

    def test_on_discard_is_not_called_for_what_stays(self, engine: Engine) -> None:
        """Neither for a job that waits or has ended again, nor for one that its follower needs."""
        claim = self.claimed(engine, follower="test.on_end")
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        called: list[Document] = []
        for uuid, ended in ((self.submitted(engine), None), (self.ended(engine, "failed"), "then"), (claim.uuid, None)):
            with pytest.raises(JobStateError):
                engine.discard(uuid, ended=ended, on_discard=called.append)
        assert called == []

    @pytest.mark.parametrize("error", [JobStateError("kept"), ValueError("no")], ids=repr)
    def test_an_on_discard_that_raises_keeps_the_job(self, engine: Engine, error: Exception) -> None:
        """As it is; a later one removes it."""
        uuid = self.ended(engine, "failed")
        before = engine.datastore.read(make_key(uuid))

        def on_discard(_head: Document) -> None:
            raise error

        with pytest.raises(type(error)):
            engine.discard(uuid, on_discard=on_discard)
        assert engine.datastore.read(make_key(uuid)) == before
        engine.discard(uuid, on_discard=lambda _head: None)
        assert engine.datastore.read(make_key(uuid)) is None

    def test_on_discard_is_called_again_after_a_crash(self, engine: Engine) -> None:
        """Which came between the call and the removal."""
        uuid = self.ended(engine, "succeeded")
        called: list[Document] = []
        failpoints.arm("discard.delete", "raise")
        with pytest.raises(failpoints.InjectedFailure):
            engine.discard(uuid, on_discard=called.append)
        assert engine.read(uuid)
        engine.discard(uuid, on_discard=called.append)
        assert [head["uuid"] for head in called] == [uuid] * 2
        assert engine.datastore.read(make_key(uuid)) is None

    def test_of_many_those_stay_whose_on_discard_raises(self, engine: Engine) -> None:
        """The others are removed."""
        uuids = [self.ended(engine, "failed") for _ in range(4)]

        def on_discard(head: Document) -> None:
            if head["uuid"] in uuids[:2]:
                raise JobStateError("kept")

        assert engine.discard_all([self.head(engine, uuid) for uuid in uuids], "old", on_discard) == uuids[2:]
        assert [engine.datastore.read(make_key(uuid)) is not None for uuid in uuids] == [True, True, False, False]

    def ended(self, engine: Engine, status: str) -> str:
        """Return the uuid of a job that has that status, an end or ``new``."""
        if status == "new":
            document = self.new(engine)
            engine.datastore.create(make_key(document["uuid"]), document)
            return str(document["uuid"])
        if status == "cancelled":
            uuid = self.submitted(engine)
            engine.cancel(uuid)
            return uuid
        claim = self.claimed(engine)
        assert engine.settle([Settlement(claim, "finish", 1, 200 if status == "succeeded" else 500)]) == [True]
        return claim.uuid
