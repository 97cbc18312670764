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

from zerog.backends.redis.commands import Command, change, discarding, head_of, replacing, stored
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.queue import RedisQueue, taking
from zerog.backends.redis.script import encoded
from zerog.backends.redis.server import BROKEN
from zerog.backends.redis.takes import Take, Taken, kind_of, taken_in
from zerog.contracts.queue import FAIR_SHARE
from zerog.engine import joblog, transitions
from zerog.engine.base import LEAVE_ALONE, Chosen
from zerog.engine.deferred import DeferredClaims, Unclaimed
from zerog.engine.engine import UNTAKEABLE, Loader, new_nonce
from zerog.engine.recovery import Lost
from zerog.engine.transitions import Claim, Settled, Settlement, Step, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, InvalidValue, QueueError, QueueUnavailable
from zerog.records.attrs import ATTRS, shown_attrs
from zerog.records.job import KEY_PREFIX, Document, make_key
from zerog.records.operations import Operation, Put, Set, apply
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

ENTRIES = 1_000
"""Entries examined in one claim at most, once it has claimed a job."""

NOT_DONE = (0, BROKEN)
"""Answers to a change that was not made."""


class RedisEngine(DeferredClaims):
    """Engine over both parts on one server: ``queue.server`` must be ``datastore.server``."""

    at_once = 250
    """Jobs in one call at most: the server serves no other client meanwhile."""
    datastore: RedisDatastore
    queue: RedisQueue

    def __init__(self, datastore: RedisDatastore, queue: RedisQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.server is not datastore.server:
            raise ValueError(
                f"{datastore.server.name} and {queue.server.name} are opened apart; use the generic engine"
            )
        self._server = datastore.server

    def _create(self, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        commands: list[Command] = []
        for document in documents:
            key = make_key(document["uuid"])
            apply(document, transitions.waiting(now, delay))
            apply(document, transitions.queued(now, "", document.get("expiresAt")))
            document.pop("queueJobId")
            put = self._putting(document, delay)
            kind = kind_of(document["jobType"], document["schemaVersion"], document["format"])
            commands.append({**stored(key, document, jsonvalues.JOB_BYTES), "put": put, "kind": kind})
        answers = self._server.one({"command": "submit", "documents": commands}, f"submit of {documents[0]['uuid']}")
        if answers == 0:
            raise self.datastore.casException(f"a job of these {len(documents)} is there already; nothing was written")
        for document, (_, identity) in zip(documents, answers, strict=True):
            document["queueJobId"] = int(identity)
        return [(document, int(token)) for document, (token, _) in zip(documents, answers, strict=True)]

    def _putting(self, head: Document, delay: float, front: bool = False) -> list[str]:
        queue = self._named(head["queueName"])
        return queue.insert(head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr"), front)

    def _named(self, name: str) -> RedisQueue:
        queue = self.queue_named(name)
        assert isinstance(queue, RedisQueue)
        return queue

    # settle

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        results: list[Settled] = []
        for some in self._groups(settlements):
            results += self._settle_batch(some)
        return results

    def _settle_batch(self, settlements: Sequence[Settlement]) -> list[Settled]:
        commands = self._commands(settlements)
        sent = [command for command in commands if isinstance(command, str)]
        try:
            failpoint("settle.write")
            answers = self._server.call(sent, "settling") if sent else []
            failpoint("settle.written")
        except Exception as error:
            return [command if isinstance(command, Exception) else error for command in commands]
        return self._answers(settlements, commands, answers)

    def prepare(self, settlement: Settlement) -> None:
        command = self._settling(settlement)
        settlement.prepared = None if command is None else encoded(command)

    def _commands(self, settlements: Sequence[Settlement]) -> list[str | Exception | None]:
        """Return the command for each settlement; None if it needs more than one, an error if it is impossible."""
        return [self._command(settlement) for settlement in settlements]

    def _command(self, settlement: Settlement) -> str | Exception | None:
        try:
            if settlement.prepared is None:
                self.prepare(settlement)
            return None if settlement.prepared is None else str(settlement.prepared)
        except Exception as error:  # of this one's values: the other runs must be settled
            return error

    def _answers(
        self, settlements: Sequence[Settlement], commands: Sequence[str | Exception | None], answers: list[Any]
    ) -> list[Settled]:
        """Return the result of each settlement, by the server's answers to those that were sent."""
        left = iter(answers)
        settled: list[Settled] = []
        for settlement, command in zip(settlements, commands, strict=True):
            if isinstance(command, Exception):
                settled.append(command)
            elif command is not None and next(left) not in NOT_DONE:
                settled.append(True)
            else:  # settle it separately, for the reason of a refusal
                settled.append(self._answer(settlement))
        return settled

    def _settling(self, settlement: Settlement) -> Command | None:
        """Return the command for a settlement; None if it needs more than one."""
        if settlement.kind == "park":  # if it was cancelled, it has to end
            return None
        claim = settlement.claim
        now = self._now()
        operations = transitions.settled(settlement, now)
        put = None
        if settlement.kind != "finish":
            try:
                put = self._putting(claim.head, settlement.delay, settlement.kind == "release")
            except (InvalidValue, QueueError):
                return None
            operations += _marks(claim.head, now)
        command = change(claim.key, operations, run=settlement.run)
        if command is None:
            return None
        command["brief"] = "1"
        if put is not None:
            command["put"] = put
        return command

    # for reconcile

    def _discard(self, heads: Sequence[Document], reason: str) -> list[Document]:
        failpoint("discard.delete")
        answers = self._server.call([discarding(head) for head in heads], "removing ended jobs")
        failpoint("discard.deleted")
        gone = [head for head, answer in zip(heads, answers, strict=True) if answer not in NOT_DONE]
        for head in gone:
            joblog.discarded(head, reason)
        return gone

    def _put_again(self, uuids: Sequence[str], why: str, lost: Lost | None) -> list[str]:
        heads = self.datastore.heads_with_cas([make_key(uuid) for uuid in uuids])
        now = self._now()
        commands: dict[str, Command] = {}
        alone: list[str] = []  # those that need more than one call, or whose repair is refused with a reason
        for uuid, (head, token) in zip(uuids, heads, strict=True):
            try:
                command = self._putting_again(uuid, head, token, now, why, lost)
            except LEAVE_ALONE:
                command = None
            if command is None:
                alone.append(uuid)
            elif command:
                commands[uuid] = command
        done: list[str] = []
        if commands:
            failpoint("reconcile.put")
            answers = self._server.call(list(commands.values()), "putting jobs again")
            failpoint("reconcile.marked")
            for uuid, answer in zip(commands, answers, strict=True):
                (alone if answer in NOT_DONE else done).append(uuid)
            self._count("put.again", len(done))
            joblog.put_again([head for uuid, (head, _) in zip(uuids, heads, strict=True) if head and uuid in done], why)
        return done + self._put_again_each(alone, why, lost)

    def _putting_again(
        self, uuid: str, head: Document | None, token: int, now: str, why: str, lost: Lost | None
    ) -> Command | None:
        """Return the command that puts a waiting job once more; None if it needs more, {} if it is a no-op."""
        if head is None:
            return None
        key = make_key(uuid)
        if not self._is_missing(key, head, lost):
            return {}
        put = self._putting(head, max(0.0, self.early_by(head)))
        command = change(key, [*_marks(head, now), *self._repair_event(head, now, why)], cas=token)
        return None if command is None else {**command, "put": put}

    def _wake_all(self, chosen: Sequence[Chosen]) -> list[str]:
        now = self._now()
        commands: dict[str, Command] = {}
        alone: list[Chosen] = []  # those that need more than one call, or aren't parked any more
        heads = self.datastore.heads_with_cas([make_key(found["uuid"]) for found, _ in chosen])
        for each, (head, token) in reversed([*zip(chosen, heads, strict=True)]):  # each is put ahead of all that wait
            command = None if head is None else self._waking(each, head, token, now)
            if command is None:
                alone.append(each)
            else:
                commands[each[0]["uuid"]] = command
        if commands:
            failpoint("limit.wake")
            answers = self._server.call(list(commands.values()), "waking parked jobs")
            failpoint("limit.woken")
            woken = {uuid for uuid, answer in zip(commands, answers, strict=True) if answer not in NOT_DONE}
            self._count("woken", len(woken))
            alone += [each for each in chosen if each[0]["uuid"] in commands.keys() - woken]
        return super()._wake_all(alone)

    def _waking(self, chosen: Chosen, head: Document, token: int, now: str) -> Command | None:
        """Return the command that wakes a parked job; None if it needs more than one, or isn't parked there."""
        found, delay = chosen
        is_parked, operations = transitions.woken(head, found, now, delay)
        if not is_parked:
            return None
        try:
            put = self._putting(head, delay, delay == 0)
        except (InvalidValue, QueueError):
            return None
        others = [operation for operation in operations if not isinstance(operation, Put)]  # not for the script
        marks = [Set(ATTRS, shown_attrs(head)), *others, *_marks(head, now)]
        command = change(make_key(found["uuid"]), marks, cas=token)
        return None if command is None else {**command, "put": put}

    # claim

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
        taking_command = taking(take.queues, min(want, self.at_once), key_prefix=KEY_PREFIX, turn=str(self._turn))
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
            considered = self._consider(each.uuid, each.read, take.worker, loader)
            if isinstance(considered, Unclaimed):
                others.append(each.moved(considered))
                continue
            head, loaded = considered
            nonce = take.next_nonce()
            ready = transitions.ready_since(head)
            changed = apply(head, transitions.claimed(head, take.worker, nonce, now))
            claim = Claim(make_key(each.uuid), each.uuid, head["epoch"], nonce, int(each.token), head, loaded)
            claim.ready = ready
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

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        waiting = self._named(queues[0] if queues else self.queue.name)
        names = self.serving(queues)
        return bool(waiting.wait(timeout, names)) or waiting.is_ready(names)

    def wake(self, queues: Sequence[str] = ()) -> None:
        self._named((queues or (self.queue.name,))[0]).wake()


def _marks(head: Document, now: str) -> list[Operation]:
    """Return the operations for a job that is put, without the id of its entry, which the script adds."""
    marks = transitions.queued(now, "", head.get("expiresAt"))
    return [operation for operation in marks if operation.field != "queueJobId"]
