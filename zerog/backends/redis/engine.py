"""The job lifecycle on one Redis server: submit, settle and claim in one call each.

A claim is one call for jobs that the script may claim alone (``zerog.backends.redis.takes``). For other jobs it is two:
the first reserves entries and returns the heads of their jobs, the second claims the accepted ones, each under its
token, and takes their entries off the queue. A crash in between leaves reserved entries, which return after their time
to run. The settlements of ``step`` are sent with the first call. The rarer verbs are inherited: they are as safe, in
more calls.

Several queues are served in the order of their names' priority, and each by the priority of its entries; but every
FAIR_SHARE-th entry that an engine takes is the oldest one of the lowest priority, so that nothing starves.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from zerog.backends.redis.commands import Command, head_of, replacing, token_of
from zerog.backends.redis.queue import taking
from zerog.backends.redis.server import BROKEN
from zerog.backends.redis.takes import Take, Taken, taken_in
from zerog.backends.redis.writes import NOT_DONE, RedisWrites
from zerog.contracts.queue import FAIR_SHARE
from zerog.engine import joblog, transitions
from zerog.engine.decision import Drop, EndCancelled, Later, decide
from zerog.engine.deferred import DeferredClaims
from zerog.engine.engine import UNTAKEABLE, Loader, Unsuitable, new_nonce
from zerog.engine.transitions import Claim, Settled, Settlement, Step, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, QueueUnavailable
from zerog.records.fields import DOCUMENT_TYPE
from zerog.records.job import Document, check_head, make_key
from zerog.records.operations import Set, apply
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

ENTRIES = 1_000
"""Entries examined in one claim at most, once it has claimed a job."""


class RedisEngine(DeferredClaims, RedisWrites):
    """Engine over both parts on one server: ``queue.server`` must be ``datastore.server``."""

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: WorkerIdentity,
        loader: Loader,
        queues: Sequence[str] = (),
        deferred: bool = False,
        batch: str = "",
    ) -> Step:
        take = Take(worker, self.serving(queues, worker), batch or new_nonce())
        first, rest = settlements[: self.at_once], self.settle(settlements[self.at_once :])
        claims: list[Claim] = []
        settled: list[Settled] = []
        trouble: Exception | None = None
        try:
            settled, taken = self._settle_and_take(first, want, take)
            self._claim_all(claims, taken, want, take, loader)
        except Exception as error:
            trouble = error
        if len(settled) < len(first):
            settled = [trouble or AmbiguousWrite("settling was not answered")] * len(first)
        if not deferred:
            claims = self.load_claims(claims, loader)
        return Step(settled + rest, claims, trouble)

    def _claim_all(self, claims: list[Claim], taken: list[Taken], want: int, take: Take, loader: Loader) -> None:
        """Add the taken jobs to ``claims``, and take more while there are any and too few could be claimed."""
        looked, asked = 0, want
        while taken:
            looked += len(taken)
            there_is_more = len(taken) >= min(asked, self.at_once)
            claims += [each.claim() for each in taken if each.nonce]
            claims += self._claim_taken([each for each in taken if not each.nonce], take, loader)
            asked = want - len(claims)
            if asked <= 0 or not there_is_more or (claims and looked >= ENTRIES):
                break
            taken = self._settle_and_take((), asked, take)[1]

    def _settle_and_take(
        self, settlements: Sequence[Settlement], want: int, take: Take
    ) -> tuple[list[Settled], list[Taken]]:
        """Settle, and claim or reserve the next jobs, in one call. Raises the errors of the call."""
        if want <= 0:
            return self.settle(settlements), []
        commands = self._commands(settlements)
        sent = [command for command in commands if isinstance(command, str)]
        if settlements:
            failpoint("settle.write")
        if take.worker.knows:
            failpoint("claim.write")
        taking_command = taking(
            take.queues, min(want, self.at_once), key_prefix=f"{DOCUMENT_TYPE}_", turn=str(self._turn)
        )
        taking_command |= take.claiming(self._now())
        answers = self._server.call([*sent, taking_command], "settling and claiming")
        rejected, flat = self._taken(answers.pop(), take.queues, bool(settlements))
        taken = taken_in(flat)
        if settlements:
            failpoint("settle.written")
        if any(each.nonce for each in taken):
            failpoint("claim.written")
        self._turn = (self._turn + len(taken)) % FAIR_SHARE
        self.queue.reject(rejected)
        return self._answers(settlements, commands, answers), taken

    def _taken(self, answer: Any, queues: Sequence[str], has_settled: bool) -> Any:
        """Return a take's answer; nothing, or QueueUnavailable, if a key of its queues isn't a queue's."""
        if answer is not BROKEN:
            return answer
        text = f"nothing was taken from {', '.join(queues)}: {self._server.name} holds something else under a key there"
        if not has_settled:
            raise QueueUnavailable(f"{text}; it was left as it is")
        log.warning("%s", text)
        return 0, ()

    def read_raw_head(self, claim: Claim) -> Document:
        return head_of(claim.key, (b"", claim.raw_head))

    def _claim_taken(self, taken: Sequence[Taken], take: Take, loader: Loader) -> list[Claim]:
        """Claim the jobs of reserved entries that wait and are accepted; drop or put back the other entries."""
        if not taken:
            return []
        failpoint("claim.reserved")
        now = self._now()
        made: list[tuple[Claim, Document]] = []
        commands: list[Command] = []
        others: list[Command] = []
        for each in taken:
            where, head, loaded = self._consider(each, take.worker, loader)
            if head is None:
                others.append(each.moved(where))
                continue
            nonce = take.next_nonce()
            changed = apply(head, transitions.claimed(head, take.worker, nonce, now))
            claim = Claim(make_key(each.uuid), each.uuid, head["epoch"], nonce, int(each.token), head, loaded)
            made.append((claim, changed))
            commands.append(
                {
                    **replacing(claim.key, changed, claim.token),
                    "command": "claim",
                    "brief": "1",
                    "entry": each.place,
                }
            )
        try:
            if made:
                failpoint("claim.write")
            answers = self._server.call([*commands, *others], "claiming")
            if made:
                failpoint("claim.written")
        except AmbiguousWrite as error:
            log.warning("%d claims were not answered and are read back: %s", len(made), error)
            return self.read_back([claim for claim, _ in made])
        won = []
        for (claim, changed), answer in zip(made, answers, strict=False):
            if answer not in NOT_DONE:
                claim.token = int(answer)
            elif not self._claim_alone(claim, changed):
                continue
            won.append(claim)
        return won

    def _claim_alone(self, claim: Claim, changed: Document) -> bool:
        """Claim a job by a separate write, which distinguishes a changed head from one that is too large."""
        try:
            operations = [Set(field, value) for field, value in changed.items()]
            claim.token = self.datastore.mutate(claim.key, operations, cas=claim.token).token
        except self._refusals:
            return False  # its entry is on the queue again
        except AmbiguousWrite:
            return bool(self.read_back([claim]))
        except (CorruptDocument, *UNTAKEABLE, DatastoreError) as error:
            self.skip(claim.uuid, str(error))
            return False
        return True

    def _consider(
        self, taken: Taken, worker: WorkerIdentity, loader: Loader
    ) -> tuple[float | str, Document | None, Any]:
        """Return the seconds until an entry is put back (0: never) or its new queue, the head to claim, and the value
        of ``loader``."""
        key, head = make_key(taken.uuid), {}
        try:
            token = 0
            if taken.token:
                token, head = token_of(key, (taken.token,)), head_of(key, (taken.token, taken.text))
                check_head(key, head)
            decision = decide(head or None, self._now())
            if isinstance(decision, Drop):
                self._count(decision.counter)
                return 0.0, None, None
            if isinstance(decision, Later):
                self._count("released.early")
                return decision.seconds, None, None
            if isinstance(decision, EndCancelled):
                if not self._end_cancelled(key, head, token):
                    return 1.0, None, None
                joblog.cancelled(head)
                return 0.0, None, None
            return 0.0, head, self.inspect(head, loader)
        except CorruptDocument as error:  # the sweep handles it; an entry would return again and again
            self.set_aside(taken.uuid, error, "dropped.unreadable")
            return 0.0, None, None
        except (Unsuitable, *UNTAKEABLE) as error:
            self.skip(taken.uuid, str(error))
            return self.aside_for(head, worker) or self.patience(head), None, None

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        waiting = self._named(queues[0] if queues else self.queue.name)
        names = self.serving(queues)
        return bool(waiting.wait(timeout, names)) or waiting.is_ready(names)

    def wake(self, queues: Sequence[str] = ()) -> None:
        self._named((queues or (self.queue.name,))[0]).wake()
