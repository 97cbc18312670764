"""Rules of engines: edit, and the author of changes by hand."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.operator import Change
from zerog.engine.transitions import Settlement, erred, error_record
from zerog.exceptions import AmbiguousWrite, JobNotFound, JobStateError, SchemaTooNew
from zerog.records.job import Document, make_key, new_uuid
from zerog.records.operations import Add, Set
from zerog.support import failpoints
from zerog.testing.contracts.engine.builders import BOB, EngineRules

NUMBER = {"number": {"old": 1, "new": 2}}


def to_two(head: Document) -> Change:
    """Return the change of a job whose field ``number`` is 1."""
    return Change([Set("number", 2)], {"number": {"old": head.get("number"), "new": 2}})


class EditRules(EngineRules):
    """Rules for an operator's changes: made once, under the token that was read, and recorded."""

    @pytest.mark.parametrize("delay", [0, 60])
    def test_a_waiting_job_is_edited(self, engine: Engine, delay: float) -> None:
        """It runs with the new value, when it would have run, and its events record who changed what and why."""
        uuid = self.submitted(engine, delay, number=1)
        before = self.head(engine, uuid)
        assert engine.edit(uuid, to_two, "alice", "a typo").fields == NUMBER
        event = self.last_event(engine, uuid)
        assert (event["who"], event["reason"], event["changed"]) == ("alice", "a typo", NUMBER)
        assert "alice" in event["msg"]
        assert "a typo" in event["msg"]
        after = self.head(engine, uuid)
        assert [after[field] for field in ("status", "epoch", "notBefore")] == [
            before[field] for field in ("status", "epoch", "notBefore")
        ]
        self.pass_time(engine, delay)
        assert [claim.head["number"] for claim in self.claim_all(engine)] == [2]

    @pytest.mark.parametrize("code", [200, 500])
    def test_an_ended_job_is_edited_and_stays_ended(self, engine: Engine, code: int) -> None:
        """Unless it is retried by the same write, which resets what a retry resets."""
        uuid = self.ended_with(engine, code)
        engine.edit(uuid, to_two, "alice", "a typo")
        assert self.head(engine, uuid)["status"] == ("succeeded" if code == 200 else "failed")
        assert self.claim_all(engine) == []
        engine.edit(uuid, lambda _head: Change([Set("number", 3)], {"number": {}}), "bob", "again", retry=True)
        head = self.head(engine, uuid)
        assert (head["number"], head["status"], head["resultCode"], head["errorCount"]) == (3, "queued", -1, 0)
        assert str(code) in self.last_event(engine, uuid)["msg"]
        assert [claim.uuid for claim in self.claim_all(engine, BOB)] == [uuid]

    def test_a_job_that_was_never_enqueued_is_edited(self, engine: Engine) -> None:
        """It stays as new as it was, and can't be retried."""
        document = self.new(engine, number=1)
        engine.datastore.create(make_key(document["uuid"]), document)
        engine.edit(document["uuid"], to_two, "alice", "a typo")
        assert [self.head(engine, document["uuid"])[field] for field in ("number", "status")] == [2, "new"]
        with pytest.raises(JobStateError, match="never enqueued"):
            engine.edit(document["uuid"], to_two, "alice", "a typo", retry=True)

    def test_a_running_job_is_not_edited(self, engine: Engine) -> None:
        """Its run is the only writer of it."""
        claim = self.claimed(engine, number=1)
        before = engine.datastore.read(claim.key)
        with pytest.raises(JobStateError, match="running"):
            engine.edit(claim.uuid, to_two, "alice", "a typo")
        assert engine.datastore.read(claim.key) == before

    def test_what_is_not_there_or_newer_is_not_edited(self, engine: Engine) -> None:
        """An unknown uuid is named; a layout of newer code stays as it is."""
        unknown = new_uuid()
        with pytest.raises(JobNotFound, match=unknown):
            engine.edit(unknown, to_two, "alice", "a typo")
        uuid = self.ended_with(engine, 500)
        engine.datastore.mutate(make_key(uuid), [Set("format", 99)])
        with pytest.raises(SchemaTooNew, match="99"):
            engine.edit(uuid, to_two, "alice", "a typo")

    def test_a_dry_run_and_no_difference_write_nothing(self, engine: Engine) -> None:
        """The token stays; the difference is returned."""
        uuid = self.ended_with(engine, 500)
        token = engine.read(uuid)[1]
        assert engine.edit(uuid, to_two, "alice", "a typo", retry=True, dry_run=True).fields == NUMBER
        assert engine.edit(uuid, lambda _head: Change([], {}), "alice", "nothing").fields == {}
        assert engine.read(uuid)[1] == token

    def test_a_token_that_was_seen_earlier_is_refused(self, engine: Engine) -> None:
        """After a concurrent change the first operator has to read the job again."""
        uuid = self.ended_with(engine, 500)
        token = engine.read(uuid)[1]
        engine.edit(uuid, to_two, "alice", "a typo", cas=token)
        with pytest.raises(engine.datastore.casException, match="another client"):
            engine.edit(uuid, lambda _head: Change([Set("number", 9)], {"number": {}}), "bob", "no", cas=token)
        assert self.head(engine, uuid)["number"] == 2

    def test_the_quicker_of_two_clients_wins(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A claim between read and write stands, and nothing of the edit is stored."""
        uuid = self.submitted(engine, number=1)
        if not self.lossless:
            pytest.skip("this queue may not deliver the job at once")
        mutate = engine.datastore.mutate

        def beaten(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]
            return mutate(*args, **kwargs)

        monkeypatch.setattr(engine.datastore, "mutate", beaten)
        with pytest.raises(engine.datastore.casException, match="Read it again"):
            engine.edit(uuid, to_two, "alice", "a typo")
        head = self.head(engine, uuid)
        assert (head["number"], head["status"]) == (1, "running")

    @pytest.mark.parametrize("retry", [False, True])
    @pytest.mark.parametrize("point", ["edit.write", "edit.written"])
    def test_an_edit_whose_answer_was_lost_is_done_once(self, engine: Engine, point: str, retry: bool) -> None:
        """It is stored once and no error is raised, whether or not the write had happened."""
        uuid = self.ended_with(engine, 500)
        failpoints.arm(point, "unknown")
        try:
            engine.edit(uuid, lambda _head: Change([Add("number", 1)], {"number": {}}), "alice", "a typo", retry)
        finally:
            failpoints.disarm()
        stored = engine.datastore.read(make_key(uuid)) or {}
        assert stored["number"] == 2
        assert len([event for event in stored["events"] if event.get("who") == "alice"]) == 1
        if retry:
            assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]

    def test_an_edit_whose_answers_stay_lost_raises(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The result is unknown: the error names where to check."""
        uuid = self.ended_with(engine, 500)

        def lost(*_args: Any, **_kwargs: Any) -> Any:
            raise AmbiguousWrite("no answer")

        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "mutate", lost)
            with pytest.raises(AmbiguousWrite, match="look at its events"):
                engine.edit(uuid, to_two, "alice", "a typo")
        assert self.head(engine, uuid)["number"] == 1

    def test_the_last_of_many_answers_may_be_the_lost_one(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The result of the last write is found there."""
        uuid = self.ended_with(engine, 500)
        mutate = engine.datastore.mutate
        calls: list[int] = []

        def late(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == 6:
                mutate(*args, **kwargs)
            raise AmbiguousWrite("no answer")

        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "mutate", late)
            engine.edit(uuid, to_two, "alice", "a typo")
        assert self.head(engine, uuid)["number"] == 2

    # a job's state when it is found, and by the time of the write

    @pytest.mark.parametrize("verb", ["retry", "discard"])
    def test_a_job_that_has_ended_again_is_left_alone(self, engine: Engine, verb: str) -> None:
        """An operator who found it by its earlier end may not mean it any more."""
        uuid = self.ended_with(engine, 500)
        found = self.head(engine, uuid)["finishedAt"]
        engine.retry(uuid)
        self.pass_time(engine, 1)
        [claim] = self.claim_all(engine)
        assert engine.settle([Settlement(claim, "finish", 1, 500)]) == [True]
        with pytest.raises(JobStateError, match="again"):
            getattr(engine, verb)(uuid, ended=found)
        assert self.head(engine, uuid)["status"] == "failed"
        getattr(engine, verb)(uuid, ended=self.head(engine, uuid)["finishedAt"])

    def test_a_retry_records_who_ordered_it(self, engine: Engine) -> None:
        """In the event, as a field and in words."""
        uuid = self.ended_with(engine, 500)
        engine.retry(uuid, "fixed the disk", "alice")
        event = self.last_event(engine, uuid)
        assert event["who"] == "alice"
        assert event["msg"] == "retried by alice after failed with 500: fixed the disk"

    def test_the_last_error_is_in_the_head(self, engine: Engine) -> None:
        """Shortened, with its type; errors of a rescue as much as those of a run."""
        claim = self.claimed(engine)
        record = error_record(claim.head["startedAt"], 503, "no " * 1_000, type="shop.Closed", traceback="…")
        assert engine.settle([Settlement(claim, "requeue", 1, operations=erred(record, 100))]) == [True]
        last = self.head(engine, claim.uuid)["lastError"]
        assert (last["errorCode"], last["type"], len(last["msg"])) == (503, "shop.Closed", 500)
        [claim] = self.claim_all(engine)
        engine.rescue(claim.uuid, claim.run, "crashes", "it died")
        stored = engine.datastore.read(claim.key) or {}
        assert stored["lastError"]["msg"] == "it died" == stored["errors"][-1]["msg"]

    def ended_with(self, engine: Engine, code: int) -> str:
        """Return the uuid of a job whose ``number`` is 1 and that has ended with this code."""
        claim = self.claimed(engine, number=1)
        record = error_record(claim.head["startedAt"], code, "no")
        settlement = Settlement(claim, "finish", 1, code, operations=[*erred(record, 100), Add("errorCount", 1)])
        assert engine.settle([settlement]) == [True]
        return claim.uuid

    def last_event(self, engine: Engine, uuid: str) -> Document:
        """Return the newest entry of a job's events that an operator's verb has made."""
        document = engine.datastore.read(make_key(uuid)) or {}
        events = [event for event in document["events"] if "again: " not in event["msg"]]
        last: Document = events[-1]
        return last
