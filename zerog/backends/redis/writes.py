"""Writes of the Redis engine that claim nothing: submit, settle, and putting again; one call each.

Jobs are sent in batches: the server serves no other client during a call.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from zerog.backends.redis.commands import Command, change, hash_name, stored, text_of
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.redis.script import encoded
from zerog.backends.redis.server import BROKEN
from zerog.backends.redis.takes import kind_of
from zerog.engine import joblog, transitions
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.engine import Engine
from zerog.engine.recovery import Lost
from zerog.engine.transitions import Settled, Settlement
from zerog.exceptions import InvalidValue, QueueError
from zerog.records.job import Document, make_key
from zerog.records.operations import apply
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

NOT_DONE = (0, BROKEN)
"""Answers to a change that was not made."""


class RedisWrites(Engine):
    """Base of the engine over both parts on one server: ``queue.server`` must be ``datastore.server``."""

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
            apply(document, transitions.queued(now, ""))
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
        answers = self._server.call([_discarding(head) for head in heads], "removing ended jobs")
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
        marks = [operation for operation in transitions.queued(now, "") if operation.field != "queueJobId"]
        command = change(key, [*marks, *self._repair_event(head, now, why)], cas=token)
        return None if command is None else {**command, "put": put}


def _discarding(head: Document) -> Command:
    """Return the command that removes a document if its end is still that of its head."""
    texts = [
        part for field in ("status", "epoch", "finishedAt") for part in (hash_name(field), text_of(head[field], field))
    ]
    return {"command": "discard", "key": make_key(head["uuid"]), "fields": texts}
