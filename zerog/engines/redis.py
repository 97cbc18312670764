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
from zerog.datastores.redis import Command, RedisDatastore, change, head_of, replacing, stored, token_of
from zerog.document import DOCUMENT_TYPE, WAITING, Document, check_head, make_key
from zerog.engines.redistakes import Take, Taken, Takes, found, kind_of, taken_in
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, InvalidValue, QueueError
from zerog.lifecycle import EARLY, LONGEST_EARLY, UNSUITABLE_DELAY, UNTAKEABLE, Accept, Engine, Unsuitable, new_nonce
from zerog.parts import LEAVE_ALONE, UNANSWERED
from zerog.queues.redis import RedisQueue, taking
from zerog.redisserver import BROKEN, SHARE, encoded
from zerog.transitions import Claim, Settlement, Worker

log = logging.getLogger("zerog")

BATCH = 250
"""Jobs in one call at most: the server serves nobody else meanwhile."""

NOT_DONE = (0, BROKEN)
"""Answers to a change that was not made."""

ENTRIES = 1_000
"""Entries looked at in one claim at most, once it has something to show for it."""


class RedisEngine(Engine):
    """Both parts on one server: ``queue.server`` must be ``datastore.server``."""

    datastore: RedisDatastore
    queue: RedisQueue

    def __init__(self, datastore: RedisDatastore, queue: RedisQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.server is not datastore.server:
            raise ValueError(
                f"{datastore.server.name} and {queue.server.name} are opened apart; use the generic engine"
            )
        self._server = datastore.server
        self._turn = 0
        self._takes = Takes(self._server)
        self._won: list[tuple[str, Take]] = []
        self._refused: deque[Settlement] = deque()

    # submit

    def submit(self, documents: Sequence[Document], delay: float = 0) -> list[tuple[Document, int]]:
        answers: list[tuple[Document, int]] = []
        for start in range(0, len(documents), BATCH):
            answers += self._submit_batch(documents[start : start + BATCH], delay)
        return answers

    def _submit_batch(self, documents: Sequence[Document], delay: float) -> list[tuple[Document, int]]:
        for attempt in range(UNANSWERED):
            try:
                return self._submit_once(documents, delay)
            except AmbiguousWrite as error:
                unanswered = error
            except self._refusals:
                if not attempt:
                    raise
            except DatastoreError as error:
                if not attempt:
                    raise
                raise self._may_exist(documents[0], error) from error
            found = [self._read_back(make_key(document["uuid"]), document) for document in documents]
            if all(found):
                logs.submitted(one[0] for one in found if one is not None)
                return [one for one in found if one is not None]
            self._wait_for_answer(attempt)
        raise self._may_exist(documents[0], unanswered) from unanswered

    def _submit_once(self, documents: Sequence[Document], delay: float) -> list[tuple[Document, int]]:
        now = self._now()
        made = []
        commands: list[Command] = []
        for document in documents:
            document = dict(document)
            key = make_key(document["uuid"])
            apply(document, transitions.waiting(now, delay))
            apply(document, transitions.queued(now, ""))
            document.pop("queueJobId")
            put = self._putting(document, delay)
            kind = kind_of(document["jobType"], document["schemaVersion"], document["format"])
            commands.append({**stored(key, document), "q": put, "i": kind})
            made.append(document)
        point("submit.create")
        answers = self._server.one({"c": "submit", "d": commands}, f"submit of {made[0]['uuid']}")
        if answers == 0:
            raise self.datastore.casException(f"a job of these {len(made)} is there already; nothing was written")
        point("submit.created")
        for document, (_, identity) in zip(made, answers, strict=True):
            document["queueJobId"] = int(identity)
        logs.submitted(made)
        return [(document, int(token)) for document, (token, _) in zip(made, answers, strict=True)]

    def _putting(self, head: Document, delay: float, ahead: bool = False) -> list[str]:
        queue = self._named(head["queueName"])
        return queue.insert(head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr"), ahead)

    def _named(self, name: str) -> RedisQueue:
        queue = self.named(name)
        assert isinstance(queue, RedisQueue)
        return queue

    # settle

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        results: list[bool] = []
        for start in range(0, len(settlements), BATCH):
            results += self._settle_batch(settlements[start : start + BATCH])
        return results

    def _settle_batch(self, settlements: Sequence[Settlement]) -> list[bool]:
        commands = [self._command(settlement) for settlement in settlements]
        sure = [command for command in commands if command is not None]
        point("settle.write")
        answers = iter(self._settle_all(sure) if sure else [])
        point("settle.written")
        return [
            self._is_settled(settlement, next(answers) if command is not None else 0)
            for settlement, command in zip(settlements, commands, strict=True)
        ]

    def _settle_all(self, commands: Sequence[Command | str]) -> list[Any]:
        """The answers; after a lost one it is sent again, and 0 then may mean that it was done before."""
        for attempt in range(UNANSWERED):
            try:
                return self._server.call(commands, "settling")
            except AmbiguousWrite as error:
                if not attempt:
                    log.warning("settling %d runs again: %s", len(commands), error)
                self._wait_for_answer(attempt)
        return self._server.call(commands, "settling")

    def prepare(self, settlement: Settlement) -> None:
        command = self._settling(settlement)
        settlement.prepared = None if command is None else encoded(command)

    def _command(self, settlement: Settlement) -> Command | str | None:
        return self._settling(settlement) if settlement.prepared is None else str(settlement.prepared)

    def _settling(self, settlement: Settlement) -> Command | None:
        """The command for a settlement; None if it takes more than one."""
        claim = settlement.claim
        now = self._now()
        operations = transitions.settled(settlement, now)
        put = None
        if settlement.kind != "finish":
            try:
                put = self._putting(claim.head, settlement.delay, settlement.kind == "release")
            except (InvalidValue, QueueError):
                return None
            operations += [operation for operation in transitions.queued(now, "") if operation.field != "queueJobId"]
        command = change(claim.key, operations, epoch=claim.epoch, seq=settlement.seq)
        if command is None:
            return None
        command["z"] = "1"
        if put is not None:
            command["q"] = put
        return command

    def _is_settled(self, settlement: Settlement, answer: Any) -> bool:
        """Whether it owned its job; what was refused is settled for itself, which tells why."""
        return answer not in NOT_DONE or self._settle_one(settlement)

    # claim

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
        self._won += self._takes.ask()
        rest = self.settle(settlements[BATCH:])
        claims: list[Claim] = []
        first, taken = self._settle_and_take(settlements[:BATCH], want, worker, queues)
        looked, asked = 0, want
        while taken:
            looked += len(taken)
            there_is_more = len(taken) >= min(asked, BATCH)
            claims += [each.claim() for each in taken if each.nonce]
            try:
                claims += self._claim_taken([each for each in taken if not each.nonce], worker, accept)
                asked = want - len(claims)
                if asked <= 0 or not there_is_more or (claims and looked >= ENTRIES):
                    break
                taken = self._settle_and_take((), asked, worker, queues)[1]
            except (DatastoreError, QueueError) as error:
                if not claims and not settlements:
                    raise
                log.warning("claimed %d jobs and then met trouble: %s", len(claims), error)
                break
        self._resolve_doubts(claims, want, worker)
        self._resolve_takes(claims, want, worker)
        if not sealed:
            claims = [claim for claim in claims if self.open(claim, accept)]
        self._give_back_refused()
        return first + rest, claims

    def _settle_and_take(
        self, settlements: Sequence[Settlement], want: int, worker: Worker, queues: Sequence[str]
    ) -> tuple[list[bool], list[Taken]]:
        """Settle, and claim or reserve what comes next, in one call."""
        if want <= 0:
            return self.settle(settlements), []
        commands = [self._command(settlement) for settlement in settlements]
        take = self._takes.new(worker)
        taking_command = self._taking(queues, min(want, BATCH), take)
        if settlements:
            point("settle.write")
        try:
            if "b" in taking_command:
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
            if "b" in taking_command:
                log.warning("the answer to a look for work was lost: %s", error)
                self._takes.lost = take
            elif not settlements:
                raise
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
        return results, taken

    def _taking(self, queues: Sequence[str], want: int, take: Take) -> Command:
        command = taking(queues, want, d=f"{DOCUMENT_TYPE}_", n=str(self._turn))
        claiming = self._takes.claiming(take, self._now())
        return command if claiming is None else {**command, "b": claiming}

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

    def _resolve_takes(self, claims: list[Claim], want: int, worker: Worker) -> None:
        """Add what takes have claimed whose answer was lost: nobody else will ever run these jobs."""
        try:
            self._won += self._takes.ask()
            for uuid, take in [won for won in self._won if won[1].worker.name == worker.name]:
                if len(claims) >= want:
                    break
                try:
                    head, token = self.datastore.read_with_cas(make_key(uuid), head=True)
                except CorruptDocument as error:
                    self.refuse(uuid, str(error))
                    head = token = None
                self._won.remove((uuid, take))
                claim = found(uuid, take, head, token)
                if claim is not None:
                    self._count("claim.recovered")
                    claims.append(claim)
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

    # for reconcile

    def put_again_all(self, uuids: Sequence[str], why: str, unless_queued_after: str | None = None) -> list[str]:
        done: list[str] = []
        for start in range(0, len(uuids), BATCH):
            done += self._put_again_batch(uuids[start : start + BATCH], why, unless_queued_after)
        return done

    def _put_again_batch(self, uuids: Sequence[str], why: str, unless_queued_after: str | None) -> list[str]:
        heads = self.datastore.heads_with_cas([make_key(uuid) for uuid in uuids])
        now = self._now()
        commands: dict[str, Command] = {}
        alone: list[str] = []  # what takes more than one call, or can't be repaired and says why
        for uuid, (head, token) in zip(uuids, heads, strict=True):
            try:
                command = self._putting_again(uuid, head, token, now, why, unless_queued_after)
            except LEAVE_ALONE:
                command = None
            if command is None:
                alone.append(uuid)
            elif command:
                commands[uuid] = command
        done: list[str] = []
        if commands:
            point("reconcile.put")
            try:
                answers = self._server.call(list(commands.values()), "putting jobs again")
            except AmbiguousWrite as error:
                log.warning(
                    "the next sweep will tell whether %d jobs are on their queue again: %s", len(commands), error
                )
                return done
            for uuid, answer in zip(commands, answers, strict=True):
                (alone if answer in NOT_DONE else done).append(uuid)
            self._count("put.again", len(done))
            logs.put_again([head for uuid, (head, _) in zip(uuids, heads, strict=True) if head and uuid in done], why)
        return done + super().put_again_all(alone, why, unless_queued_after)

    def _putting_again(
        self, uuid: str, head: Document | None, token: int, now: str, why: str, unless_queued_after: str | None
    ) -> Command | None:
        """The command that puts a waiting job once more; None if it takes more, {} if nothing is to be done."""
        if head is None:
            return None
        key = make_key(uuid)
        if not self._is_missing(key, head, unless_queued_after):
            return {}
        put = self._putting(head, max(0.0, self.early_by(head)))
        marks = [operation for operation in transitions.queued(now, "") if operation.field != "queueJobId"]
        command = change(key, [*marks, *self._repair_told(head, now, why)], cas=token)
        return None if command is None else {**command, "q": put}
