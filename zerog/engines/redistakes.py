"""Jobs that the script of a Redis server claims in the same step in which it takes their entries off a queue.

It does so for those that need no look: submitted by an engine, of a type and schema version that the worker knows,
waiting, not cancelled, not delayed. A worker that never hears which ones these were would hold jobs that it does
not run. So takes are numbered, the server notes what the last one has claimed, and one whose answer was lost is asked
for before the next: either it was done, and its jobs are named, or it will claim nothing any more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from zerog import transitions, values
from zerog.datastores.operations import Set
from zerog.datastores.redis import Command, named, text_of
from zerog.document import DOCUMENT_TYPE, FORMAT, Document, make_key
from zerog.lifecycle import new_nonce
from zerog.queues.redis import uuid_of
from zerog.redisserver import RedisServer
from zerog.transitions import Claim, Worker

OF_EACH_JOB = frozenset({"epoch", "attempts", "owner", "startedAt", "updatedAt"})
"""What a claim writes that the script has to work out; all else is the same for each job."""


class Take(NamedTuple):
    """One call that may claim jobs."""

    number: int
    nonce: str
    """What the names of its claims begin with."""
    worker: Worker


class Takes:
    """The takes of one engine. ``lost`` is one that nobody has heard of yet."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.lost: Take | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._name = os.urandom(6).hex()
        self._last = 0

    def new(self, worker: Worker) -> Take:
        """The next one."""
        if self._pid != os.getpid():  # a copy must not count on as its parent does
            self._begin()
        self._last += 1
        return Take(self._last, new_nonce(), worker)

    def claiming(self, take: Take, now: str) -> Command | None:
        """What the script needs for claims of this take; None if its worker wants to look at each job first."""
        if not take.worker.knows:
            return None
        kinds, fields, owner = _constant(take.worker)
        return {
            "k": kinds,
            "f": fields,
            "o": owner,
            "n": take.nonce,
            "u": text_of(now, "updatedAt"),
            "i": [self._name, str(take.number)],
            "d": f"{DOCUMENT_TYPE}_",
        }

    def ask(self) -> list[tuple[str, Take]]:
        """The uuids of what the lost take has claimed, which from now on claims nothing. Raises DatastoreError."""
        won: list[tuple[str, Take]] = []
        if self.lost is not None:
            command = {"c": "won", "i": [self._name, str(self.lost.number)]}
            answer = self._server.one(command, "claims without an answer")
            won = [(uuid.decode(), self.lost) for uuid in answer.split()]
            self.lost = None
        return won


class Taken:
    """A taken entry, and the head of its job: as it was, or as its claim has left it."""

    __slots__ = ("epoch", "nonce", "place", "text", "token", "uuid")

    def __init__(self, name: bytes, entry: bytes, token: bytes, text: bytes, claim: bytes) -> None:
        self.place = [name.decode(), entry.decode()]
        self.uuid = uuid_of(self.place[1])
        self.token = token
        """Empty if there is no document."""
        self.text = text
        self.nonce, self.epoch = "", 0
        """Of the claim, if there is one."""
        if claim:
            nonce, epoch = claim.split()
            self.nonce, self.epoch = nonce.decode(), int(epoch)

    def drop(self) -> Command:
        """The command for an entry that leads nowhere."""
        return {"c": "ack", "a": self.place}

    def put_back(self, delay: float) -> Command:
        """The command for an entry that shall come again."""
        return {"c": "back", "a": self.place, "s": repr(float(delay))}

    def claim(self) -> Claim:
        """What the script has claimed, still sealed."""
        return Claim(make_key(self.uuid), self.uuid, self.epoch, self.nonce, int(self.token), {}, sealed=self.text)


def taken_in(flat: Sequence[bytes]) -> list[Taken]:
    """What the script has taken, out of its answer."""
    return [Taken(*flat[i : i + 5]) for i in range(0, len(flat), 5)]


def found(uuid: str, take: Take, head: Document | None, token: int | None) -> Claim | None:
    """The claim of a job by this take, still sealed, if its head says that it is that still."""
    owner = (head or {}).get("owner")
    if head is None or token is None or not isinstance(owner, dict):
        return None
    if not str(owner.get("nonce")).startswith(take.nonce):
        return None
    text = values.encode_checked(head)[1:-1].encode()
    return Claim(make_key(uuid), uuid, head["epoch"], owner["nonce"], token, {}, sealed=b"," + text)


def kind_of(job_type: str, version: float, layout: int) -> str:
    """What is noted beside a document so that the script knows whether a worker knows it."""
    return values.encode_checked([job_type, version, layout])


@lru_cache(64)
def _constant(worker: Worker) -> tuple[list[str], list[str], list[str]]:
    """The kinds that a worker knows, what each of its claims sets, and the owner before and behind its name."""
    mark = new_nonce()
    fields: list[str] = []
    for operation in transitions.claimed({"epoch": 0}, worker, mark, ""):
        if operation.field not in OF_EACH_JOB:
            assert isinstance(operation, Set)
            fields += (named(operation.field), text_of(operation.value, operation.field))
    owner = values.encode_checked(worker.as_owner(mark)).split(mark)
    return [kind_of(*known, FORMAT) for known in worker.knows], fields, owner
