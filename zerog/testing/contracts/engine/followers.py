"""Rules of engines: the follower of a job's end, submitted once for each end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerog.engine.engine import Engine
from zerog.engine.followers import WEB_HOOK, follow, follower_of, web_hooks_of
from zerog.engine.operator import Change
from zerog.engine.transitions import Settlement
from zerog.exceptions import JobStateError
from zerog.records.job import Document, make_key
from zerog.support import failpoints
from zerog.testing.contracts.engine.builders import EngineRules

FOLLOWER = "test.on_end"


def succeeds(rules: FollowerRules, engine: Engine) -> str:
    """Return a job that has succeeded."""
    claim = rules.claimed(engine, follower=FOLLOWER)
    engine.settle([Settlement(claim, "finish", 1, 200)])
    return claim.uuid


def fails(rules: FollowerRules, engine: Engine) -> str:
    """Return a job that has failed."""
    claim = rules.claimed(engine, follower=FOLLOWER)
    engine.settle([Settlement(claim, "finish", 1, 500)])
    return claim.uuid


def is_cancelled(rules: FollowerRules, engine: Engine) -> str:
    """Return a job that was cancelled while it waited."""
    uuid = rules.submitted(engine, follower=FOLLOWER)
    engine.cancel(uuid)
    return uuid


def is_cancelled_later(rules: FollowerRules, engine: Engine) -> str:
    """Return a job that was cancelled before its time."""
    uuid = rules.submitted(engine, delay=3600, follower=FOLLOWER)
    engine.cancel(uuid)
    return uuid


def is_cancelled_and_dies(rules: FollowerRules, engine: Engine) -> str:
    """Return a cancelled job whose worker died."""
    claim = rules.claimed(engine, follower=FOLLOWER)
    engine.cancel(claim.uuid)
    engine.rescue(claim.uuid, claim.run, "lost", "gone")
    return claim.uuid


def is_cancelled_and_released(rules: FollowerRules, engine: Engine) -> str:
    """Return a cancelled job that its worker released."""
    claim = rules.claimed(engine, follower=FOLLOWER)
    engine.cancel(claim.uuid)
    engine.release(claim.uuid, claim.run, "over")
    return claim.uuid


ENDS: dict[str, tuple[Callable[[FollowerRules, Engine], str], str]] = {
    "success": (succeeds, "succeeded"),
    "failure": (fails, "failed"),
    "cancelled while it waits": (is_cancelled, "cancelled"),
    "cancelled before its time": (is_cancelled_later, "cancelled"),
    "cancelled, then its worker dies": (is_cancelled_and_dies, "cancelled"),
    "cancelled, then released": (is_cancelled_and_released, "cancelled"),
}


class FollowerRules(EngineRules):
    """Rules for jobs with a follower: none of their ends is missed, and none is followed twice."""

    def follower(self, engine: Engine, uuid: str) -> Document | None:
        """Return the document of the follower of a job's latest end."""
        return engine.datastore.read(make_key(follower_of(self.head(engine, uuid))))

    @pytest.mark.parametrize("end", ENDS)
    def test_every_end_has_its_follower(self, engine: Engine, end: str) -> None:
        """It names the job and how that ended, waits on its queue, and the sweep submits it once."""
        make, status = ENDS[end]
        uuid = make(self, engine)
        assert (self.head(engine, uuid)["status"], self.follower(engine, uuid)) == (status, None)
        self.sweep(engine, 3)
        follower = self.follower(engine, uuid)
        assert follower is not None
        assert (follower["jobType"], follower["parent"], follower["ended"]) == (FOLLOWER, uuid, status)
        assert (follower["status"], follower["queueName"]) == ("queued", "default")
        assert self.head(engine, uuid)["due"] is None
        claims = [claim for claim in self.claim_all(engine) if claim.head["parent"] == uuid]
        assert [claim.uuid for claim in claims] == [follower["uuid"]]
        assert follow(engine, uuid) == []

    def test_every_url_has_its_web_hook(self, engine: Engine) -> None:
        """Once for each end; the URL stays with the job that has ended, which is kept until they have ended."""
        claim = self.claimed(engine, notify=["https://a.example/", "https://b.example/"])
        engine.settle([Settlement(claim, "finish", 1, 500)])
        self.sweep(engine, 3)
        head = self.head(engine, claim.uuid)
        hooks = [engine.read(uuid)[0] for uuid in web_hooks_of(head)]
        assert [(hook["jobType"], hook["number"], hook["parent"]) for hook in hooks] == [
            (WEB_HOOK, 0, claim.uuid),
            (WEB_HOOK, 1, claim.uuid),
        ]
        assert {hook["message"]["type"] for hook in hooks} == {"job.failed"}
        assert "a.example" not in str(hooks)
        with pytest.raises(JobStateError, match=r"its web hook is job .*, which is queued"):
            engine.discard(claim.uuid)
        claims = [claimed for claimed in self.claim_all(engine) if claimed.head["parent"] == claim.uuid]
        assert {claimed.uuid for claimed in claims} == {hook["uuid"] for hook in hooks}
        engine.settle([Settlement(claimed, "finish", 1, 500) for claimed in claims])
        if engine.datastore.can_delete:
            engine.discard(claim.uuid)

    def test_no_other_job_has_one(self, engine: Engine) -> None:
        """Its end sets nothing that a sweep would look for."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "finish", 1, 200)])
        assert self.head(engine, claim.uuid)["due"] is None
        assert follow(engine, claim.uuid) == []

    @pytest.mark.parametrize("point", ["follow.note", "follow.noted"])
    def test_a_sweep_that_dies_half_way_is_repeated(self, engine: Engine, point: str) -> None:
        """And submits no second follower."""
        uuid = succeeds(self, engine)
        failpoints.arm(point, "raise")
        with pytest.raises(failpoints.InjectedFailure):
            follow(engine, uuid)
        self.sweep(engine, 2)
        claims = [claim for claim in self.claim_all(engine) if claim.head["parent"] == uuid]
        assert len(claims) == 1
        assert self.head(engine, uuid)["due"] is None

    def test_a_retry_forgets_no_end(self, engine: Engine) -> None:
        """The follower of the end before it is submitted first, and the next end has another one."""
        uuid = fails(self, engine)
        first = follower_of(self.head(engine, uuid))
        engine.retry(uuid)
        assert engine.read(first)[0]["ended"] == "failed"
        claims = [claim for claim in self.claim_all(engine) if claim.uuid == uuid]
        engine.settle([Settlement(claims[0], "finish", 1, 200)])
        self.sweep(engine)
        follower = self.follower(engine, uuid)
        assert follower is not None
        assert (follower["ended"], follower["uuid"] != first) == ("succeeded", True)

    def test_an_edit_that_retries_forgets_no_end(self, engine: Engine) -> None:
        """As a retry."""
        uuid = fails(self, engine)
        first = follower_of(self.head(engine, uuid))
        engine.edit(uuid, lambda head: Change([], {}), "alice", "once more", retry=True)
        assert engine.read(first)[0]["ended"] == "failed"
        assert self.head(engine, uuid)["status"] == "queued"

    def test_a_job_is_kept_for_its_follower(self, engine: Engine) -> None:
        """Neither a discard nor retention removes it before that has succeeded."""
        uuid = succeeds(self, engine)
        head = self.head(engine, uuid)
        with pytest.raises(JobStateError, match="its on_end is not submitted yet"):
            engine.discard(uuid)
        assert engine.discard_all([head], "old") == []
        self.sweep(engine)
        with pytest.raises(JobStateError, match=r"its on_end is job .*, which is queued"):
            engine.discard(uuid)
        assert engine.discard_all([self.head(engine, uuid)], "old") == []
        [claim] = [claim for claim in self.claim_all(engine) if claim.head["parent"] == uuid]
        engine.settle([Settlement(claim, "finish", 1, 200)])
        if engine.datastore.can_delete:
            engine.discard(uuid)
            assert engine.datastore.read(make_key(uuid)) is None
