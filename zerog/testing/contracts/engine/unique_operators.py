"""What operators do to unique jobs: retries, edits, discards, cancels and removals keep one job of a key."""

from __future__ import annotations

import pytest

from zerog.engine.engine import Engine
from zerog.engine.operator import Change
from zerog.engine.transitions import Settlement, begun
from zerog.exceptions import InvalidValue, JobNotFound, JobStateError
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.records.unique import unique_lock
from zerog.support import failpoints
from zerog.testing.contracts.engine.unique_jobs import Once, UniqueJobs


class UniqueOperatorRules(UniqueJobs):
    """Rules of the lock for what operators do."""

    def test_a_retried_job_looks_at_its_lock_again(self, engine: Engine) -> None:
        """Its run had begun, so that no claim looked at the lock any more."""
        first = self.unique(engine)
        [claim] = self.claim_all(engine)
        assert engine.settle([Settlement(claim, "finish", 1, 500, operations=begun(claim.head))]) == [True]
        engine.retry(self.uuid_of(first))
        [again] = self.claim_all(engine)
        assert "begun" not in again.head["uniqueLock"]

    def test_a_retry_takes_the_key_back(self, engine: Engine) -> None:
        """And is joined from then on."""
        first = self.done(engine)
        engine.retry(self.uuid_of(first))
        assert self.uuid_of(self.unique(engine)) == self.uuid_of(first)
        assert self.live(engine) == [self.uuid_of(first)]

    def test_a_retry_is_refused_while_another_one_is_live(self, engine: Engine) -> None:
        """Which it names; once that has ended, it takes the key over."""
        first = self.done(engine)
        second = self.unique(engine)
        with pytest.raises(JobStateError, match=self.uuid_of(second)):
            engine.retry(self.uuid_of(first))
        assert self.head(engine, self.uuid_of(first))["status"] == "succeeded"
        engine.cancel(self.uuid_of(second))
        engine.retry(self.uuid_of(first))
        assert self.named(engine) == self.uuid_of(first)
        assert self.live(engine) == [self.uuid_of(first)]

    def test_a_submit_during_a_retry_wins(self, engine: Engine) -> None:
        """It read the job as ended and took the key: the retried job ends before it runs."""
        first = self.done(engine)
        hook = Once("retry.write", lambda: self.unique(engine))
        engine.retry(self.uuid_of(first))
        [second] = hook.results
        assert second.is_new
        assert self.live(engine) == [self.uuid_of(second)]
        self.assert_ended_for(engine, self.uuid_of(first), self.uuid_of(second))

    def test_an_edit_of_the_key_is_refused(self, engine: Engine) -> None:
        """Any other is not; a retry by an edit follows the rules of a retry."""
        lock = unique_lock("test", {"customer": "ada"}, "ended")
        document = self.new(engine, uniqueLock=lock, customer="ada", pages=1)
        engine.submit_unique([document])

        def edit(field: str, retry: bool = False) -> None:
            change = Change([Set(field, 2)], {field: {"old": 1, "new": 2}})
            engine.edit(document["uuid"], lambda head: change, "ada", "test", retry)

        with pytest.raises(InvalidValue, match=r"customer of job .* can't be edited"):
            edit("customer")
        edit("pages")
        assert self.head(engine, document["uuid"])["pages"] == 2
        engine.cancel(document["uuid"])
        [second] = engine.submit_unique([self.new(engine, uniqueLock=lock)])
        with pytest.raises(JobStateError, match=self.uuid_of(second)):
            edit("pages", retry=True)

    def test_a_discard_removes_the_lock(self, engine: Engine) -> None:
        """Not that of another job, which has taken it over."""
        first = self.done(engine)
        second = self.unique(engine)
        engine.discard(self.uuid_of(first))
        assert self.named(engine) == self.uuid_of(second)
        engine.cancel(self.uuid_of(second))
        engine.discard(self.uuid_of(second))
        assert self.named(engine) is None
        assert self.unique(engine).is_new

    def test_what_is_kept_for_a_time_leaves_no_lock(self, engine: Engine) -> None:
        """Jobs without a key are removed as before."""
        first = self.done(engine)
        plain = self.claimed(engine)
        self.finish(engine, plain)
        heads = [self.head(engine, uuid) for uuid in (self.uuid_of(first), plain.uuid)]
        assert sorted(engine.discard_all(heads, "old")) == sorted([self.uuid_of(first), plain.uuid])
        assert self.named(engine) is None

    @pytest.mark.parametrize("point", ["unique.drop", "unique.dropped", "discard.delete", "discard.deleted"])
    def test_a_discard_that_dies_is_repeated(self, engine: Engine, point: str) -> None:
        """And a submit meanwhile returns a job."""
        first = self.done(engine)
        failpoints.arm(point, "raise")
        with pytest.raises(failpoints.InjectedFailure):
            engine.discard(self.uuid_of(first))
        second = self.unique(engine)
        if engine.datastore.read(make_key(self.uuid_of(first))) is not None:
            engine.discard(self.uuid_of(first))
        with pytest.raises(JobNotFound):
            engine.read(self.uuid_of(first))
        assert (second.is_new, self.named(engine)) == (True, self.uuid_of(second))
        assert self.live(engine) == [self.uuid_of(second)]
