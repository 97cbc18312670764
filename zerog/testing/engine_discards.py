"""Rules of engines: discard."""

from __future__ import annotations

from typing import Any

import pytest

from zerog import crashpoints
from zerog.datastores.operations import Set
from zerog.document import make_key
from zerog.exceptions import JobNotFound, JobStateError, SchemaTooNew
from zerog.lifecycle import Engine
from zerog.testing.engine_kit import EngineRules
from zerog.transitions import Settlement


class DiscardRules(EngineRules):
    """What has ended may be removed; nothing else may."""

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
        """It has to be cancelled first, as the error says."""
        uuid = self.submitted(engine, delay)
        before = engine.datastore.read(make_key(uuid))
        with pytest.raises(JobStateError, match="cancel it first"):
            engine.discard(uuid)
        assert engine.datastore.read(make_key(uuid)) == before

    def test_what_runs_is_not_discarded(self, engine: Engine) -> None:
        """Neither while it runs nor once it was told to stop; the run goes on and its result is stored."""
        claim = self.claimed(engine)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        engine.cancel(claim.uuid)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        engine.discard(claim.uuid)

    def test_a_newer_layout_is_not_discarded(self, engine: Engine) -> None:
        """What its status means is for newer code to say."""
        uuid = self.ended(engine, "succeeded")
        engine.datastore.mutate(make_key(uuid), [Set("format", 99)])
        with pytest.raises(SchemaTooNew, match=uuid):
            engine.discard(uuid)
        assert self.head(engine, uuid)["format"] == 99

    def test_a_delivery_after_the_discard_is_dropped(self, engine: Engine) -> None:
        """What a queue brings late makes nothing: no run, no document."""
        uuid = self.ended(engine, "cancelled")  # before anybody took it off the queue
        engine.discard(uuid)
        engine.queue.put(uuid)
        assert self.claim_all(engine) == []
        assert engine.datastore.read(make_key(uuid)) is None
        if self.lossless:
            assert engine.counters["dropped.unknown"] == 2

    def test_a_retry_is_quicker_than_a_discard(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody sent on its way between look and deletion isn't removed."""
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

    @pytest.mark.parametrize("point", ["discard.delete", "discard.deleted"])
    def test_a_discard_whose_answer_was_lost_is_read_back(self, engine: Engine, point: str) -> None:
        """Whether it had happened or not, the job is gone and no error is told."""
        uuid = self.ended(engine, "succeeded")
        crashpoints.arm(point, "unknown")
        try:
            engine.discard(uuid)
        finally:
            crashpoints.disarm()
        assert engine.datastore.read(make_key(uuid)) is None

    def ended(self, engine: Engine, status: str) -> str:
        """The uuid of a job that has that status, an end or ``new``."""
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
