"""The lifecycle when documents and queue are on one Redis server: submit, settle and claim in one call each.

A claim is one call for jobs that the script may claim by itself (``zerog.engines.redistakes``). For others it is two:
the first reserves entries and brings the heads of their jobs, the second claims those that were accepted, each under
its token, and takes their entries off the queue. What dies in between leaves reserved entries, which come back after
their time to run. The settlements of ``step`` ride with the first call. The rarer verbs are inherited: they are as
safe, in more calls.

Several queues are served in the order of their names' priority, and each by the priority of its entries; but every
SHAREth entry that an engine takes is the oldest one of the lowest priority, so that nothing waits for ever.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from zerog import logs, transitions
from zerog.clock import SYSTEM, Clock
from zerog.crashpoints import point
from zerog.datastores.operations import Set, apply
from zerog.datastores.redis import Command, RedisDatastore, head_of, replacing, token_of
from zerog.document import DOCUMENT_TYPE, WAITING, Document, check_head, make_key
from zerog.engines.redistakes import Taken, Takes, found, taken_in
from zerog.engines.rediswrites import BATCH, NOT_DONE, RedisWrites
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, QueueError
from zerog.lifecycle import EARLY, LONGEST_EARLY, UNSUITABLE_DELAY, UNTAKEABLE, Accept, Unsuitable, new_nonce
from zerog.queues.base import SHARE
from zerog.queues.redis import RedisQueue, taking
from zerog.transitions import Claim, Settlement, Worker

log = logging.getLogger("zerog")

ENTRIES = 1_000
"""Entries looked at in one claim at most, once it has something to show for it."""


class RedisEngine(RedisWrites):
    """Both parts on one server: ``queue.server`` must be ``datastore.server``."""

    def __init__(self, datastore: RedisDatastore, queue: RedisQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        self._turn = 0
        self._takes: dict[str, Takes] = {}
        self._refused: deque[Settlement] = deque()

    def claim(self, want: int, worker: Worker, accept: Accept, queues: Sequence[str] = ()) -> list[Claim]:
        return self.step([], want, worker, accept, queues)[1]

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: Worker,
        accept: Accept,
        queues: Sequence[str] = (),
        sealed: bool = False,
    ) -> tuple[list[bool], list[Claim]]:
        queues = queues or (self.queue.name,)
        takes = self._takes_of(worker)
        takes.ask()
        rest = self.settle(settlements[BATCH:])
        claims = takes.claims  # in there, lest an error further down leaves a job that nobody runs
        first, taken = self._settle_and_take(settlements[:BATCH], want - len(claims), takes, queues)
        looked, asked = 0, want - len(claims)
        while taken:
            looked += len(taken)
            there_is_more = len(taken) >= min(asked, BATCH)
            takes.heard([each.claim() for each in taken if each.nonce])
            try:
                claims += self._claim_taken([each for each in taken if not each.nonce], worker, accept)
                asked = want - len(claims)
                if asked <= 0 or not there_is_more or (claims and looked >= ENTRIES):
                    break
                taken = self._settle_and_take((), asked, takes, queues)[1]
            except (DatastoreError, QueueError) as error:
                if not claims and not settlements:
                    raise
                log.warning("claimed %d jobs and then met trouble: %s", len(claims), error)
                break
        self._resolve_doubts(claims, want, worker)
        self._resolve_takes(takes, want)
        takes.claims = []
        if not sealed:
            claims = [claim for claim in claims if self.open(claim, accept)]
        self._give_back_refused()
        return first + rest, claims

    def _settle_and_take(
        self, settlements: Sequence[Settlement], want: int, takes: Takes, queues: Sequence[str]
    ) -> tuple[list[bool], list[Taken]]:
        """Settle, and claim or reserve what comes next, in one call."""
        if want <= 0:
            return self.settle(settlements), []
        commands = [self._command(settlement) for settlement in settlements]
        taking_command = taking(queues, min(want, BATCH), d=f"{DOCUMENT_TYPE}_", n=str(self._turn))
        taking_command |= takes.next(self._now())
        if settlements:
            point("settle.write")
        try:
            if takes.lost:
                point("claim.write")
            answers = self._server.call(
                [*(c for c in commands if c is not None), taking_command], "settling and claiming"
            )
            rejected, empty, flat = answers.pop()
            taken = taken_in(flat)
            if settlements:
                point("settle.written")
            if any(each.nonce for each in taken):
                point("claim.written")
        except AmbiguousWrite as error:
            if not takes.lost and not settlements:
                raise
            log.warning("the answer to a look for work was lost: %s", error)
            return self.settle(settlements), []  # what was only reserved comes back
        self._turn = (self._turn + len(taken)) % SHARE
        self.queue.rejected += rejected
        if len(taken) < want:
            for name in {name.decode() for name in empty}.difference(each.place[0] for each in taken):
                self._note_empty(name)
        left = iter(answers)
        results = [
            self._is_settled(settlement, next(left) if command is not None else 0)
            for settlement, command in zip(settlements, commands, strict=True)
        ]
        if not taken:
            takes.heard([])
        return results, taken

    def open(self, claim: Claim, accept: Accept) -> bool:
        if claim.sealed is None:
            return True
        text, claim.sealed = claim.sealed, None
        try:
            head = head_of(claim.key, (b"", text))
            check_head(claim.key, head)
            claim.head = head
            claim.loaded = self.look(head, accept)
        except (Unsuitable, *UNTAKEABLE) as error:
            self.refuse(claim.uuid, str(error))
            # All that putting it on a queue takes, if its head makes no sense.
            claim.head = claim.head or {
                "uuid": claim.uuid,
                "queueName": self.queue.name,
                "queueKwargs": {},
                "priority": 0,
            }
            # Delayed, so it is looked at before the next claim: it does not change hands again and again.
            self._refused.append(Settlement(claim, "release", claim.seq + 1, delay=UNSUITABLE_DELAY))
            return False
        return True

    def _give_back_refused(self) -> None:
        """Give back what was claimed at once and then refused; it goes on being this worker's until that is done."""
        refused: list[Settlement] = []
        while self._refused:  # one by one: slots may be adding to it
            refused.append(self._refused.popleft())
        try:
            self.settle(refused)
        except (DatastoreError, QueueError) as error:
            self._refused.extend(refused)
            log.warning("%d jobs that this worker can't take are given back later: %s", len(refused), error)

    def unreserve(self) -> None:
        super().unreserve()
        self._give_back_refused()

    def _takes_of(self, worker: Worker) -> Takes:
        takes = self._takes.get(worker.name)
        if takes is None or takes.worker != worker:
            takes = self._takes[worker.name] = Takes(self._server, worker)
        return takes

    def _resolve_takes(self, takes: Takes, want: int) -> None:
        """Add what was claimed by takes whose answer was lost: nobody else will ever run these jobs."""
        try:
            takes.ask()
            while takes.won and len(takes.claims) < want:
                uuid, nonce = takes.won[0]
                try:
                    head, token = self.datastore.read_with_cas(make_key(uuid), head=True)
                except CorruptDocument as error:
                    self.refuse(uuid, str(error))
                    head = token = None
                del takes.won[0]
                claim = found(uuid, nonce, head, token)
                if claim is not None:
                    self._count("claim.recovered")
                    takes.claims.append(claim)
        except DatastoreError as error:
            log.warning("nobody can say yet what was claimed: %s", error)

    def _claim_taken(self, taken: Sequence[Taken], worker: Worker, accept: Accept) -> list[Claim]:
        """Claim the jobs of reserved entries that wait and are accepted; the others' entries go, or come later."""
        if not taken:
            return []
        point("claim.reserved")
        now = self._now()
        made: list[tuple[Claim, Document]] = []
        commands: list[Command] = []
        others: list[Command] = []
        for each in taken:
            delay, head, loaded = self._consider(each, accept)
            if head is None:
                others.append(each.put_back(delay) if delay else each.drop())
                continue
            claim, changed = self._claiming(each, head, worker, loaded, now)
            made.append((claim, changed))
            commands.append({**replacing(claim.key, changed, claim.token), "c": "claim", "z": "1", "a": each.place})
        try:
            if made:
                point("claim.write")
            answers = self._server.call([*commands, *others], "claiming")
            if made:
                point("claim.written")
        except AmbiguousWrite as error:
            log.warning("the answer to %d claims was lost: %s", len(made), error)
            self._doubts.update((claim.uuid, claim) for claim, _ in made)
            return []
        won = []
        for (claim, changed), answer in zip(made, answers, strict=False):
            if answer not in NOT_DONE:
                claim.token = int(answer)
            elif not self._claim_alone(claim, changed):
                continue
            self._doubts.pop(claim.uuid, None)
            won.append(claim)
        return won

    def _claiming(self, taken: Taken, head: Document, worker: Worker, loaded: Any, now: str) -> tuple[Claim, Document]:
        """A claim under the token of its head, and the fields that it changes."""
        token = int(taken.token)
        doubt = self._doubts.get(head["uuid"])
        # Over the same token the same name: whichever of two such writes comes through, it is this claim.
        nonce = doubt.nonce if doubt is not None and doubt.token == token else new_nonce()
        changed = apply(head, transitions.claimed(head, worker, nonce, now))
        claim = Claim(make_key(head["uuid"]), head["uuid"], head["epoch"], nonce, token, head, loaded)
        return claim, changed

    def _claim_alone(self, claim: Claim, changed: Document) -> bool:
        """Claim a job by a write of its own, which tells apart a head that was changed and one that is too large."""
        try:
            operations = [Set(field, value) for field, value in changed.items()]
            claim.token = self.datastore.mutate(claim.key, operations, cas=claim.token).token
        except self._refusals:
            return False  # its entry is on the queue again
        except AmbiguousWrite:
            self._doubts[claim.uuid] = claim
            return False
        except (*UNTAKEABLE, DatastoreError) as error:
            self.refuse(claim.uuid, str(error))
            return False
        return True

    def _consider(self, taken: Taken, accept: Accept) -> tuple[float, Document | None, Any]:
        """In how many seconds an entry shall come again (0: never), or the head to claim and what ``accept`` said."""
        key = make_key(taken.uuid)
        try:
            if not taken.token:
                self._count("dropped.unknown")
                return 0.0, None, None
            token, head = token_of(key, (taken.token,)), head_of(key, (taken.token, taken.text))
            check_head(key, head)
            if head["status"] not in WAITING:
                self._count(f"dropped.{head['status']}")
                return 0.0, None, None
            if head.get("cancelRequested") is not None:
                if not self._end_cancelled(key, head, token):
                    return 1.0, None, None
                logs.cancelled(head)
                return 0.0, None, None
            early = self.early_by(head)
            if early > EARLY:
                self._count("released.early")
                return min(early, LONGEST_EARLY), None, None
            return 0.0, head, self.look(head, accept)
        except (Unsuitable, *UNTAKEABLE) as error:
            self.refuse(taken.uuid, str(error))
            return UNSUITABLE_DELAY, None, None

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        queues = queues or (self.queue.name,)
        waiting = self._named(queues[0])
        if waiting.wait(timeout, queues) or waiting.is_ready(queues):
            return True
        for name in queues:
            self._note_empty(name)
        return False

    def wake(self, queues: Sequence[str] = ()) -> None:
        self._named((queues or (self.queue.name,))[0]).wake()
