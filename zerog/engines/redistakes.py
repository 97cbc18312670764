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


class Lost(NamedTuple):
    """A take of which nobody has heard yet."""

    number: int
    nonce: str
    """What the names of its claims begin with."""


class Takes:
    """The takes of one worker in one process, which follow each other."""

    def __init__(self, server: RedisServer, worker: Worker) -> None:
        self.worker = worker
        self.lost: Lost | None = None
        """The last one, until it is known what it has claimed."""
        self.won: list[tuple[str, str]] = []
        """What lost ones have claimed: uuids, and what the names of these claims begin with."""
        self.claims: list[Claim] = []
        """What was claimed and is not yet returned to the worker."""
        self._server = server
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._name = os.urandom(6).hex()
        self._last = 0

    def next(self, now: str) -> Command:
        """What the script needs to claim jobs in the next take; empty if the worker wants to look at each first.

        That take counts as lost until ``heard`` is called.
        """
        if not self.worker.knows:
            return {}
        if self._pid != os.getpid():  # a copy must not count on as its parent does
            self._begin()
        self._last += 1
        self.lost = Lost(self._last, new_nonce())
        kinds, fields, owner = _constant(self.worker)
        claiming = {
            "k": kinds,
            "f": fields,
            "o": owner,
            "n": self.lost.nonce,
            "u": text_of(now, "updatedAt"),
            "i": [self._name, str(self._last)],
            "d": f"{DOCUMENT_TYPE}_",
        }
        return {"b": claiming}

    def heard(self, claims: list[Claim]) -> None:
        """Take note of what the last take has claimed."""
        self.claims += claims
        self.lost = None

    def ask(self) -> None:
        """If the last take is lost, find out what it has claimed; from now on it claims nothing.

        Raises DatastoreError.
        """
        if self.lost is not None and self._pid == os.getpid():
            command = {"c": "won", "i": [self._name, str(self.lost.number)]}
            answer = self._server.one(command, "claims without an answer")
            self.won += ((uuid.decode(), self.lost.nonce) for uuid in answer.split())
            self.lost = None


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


def found(uuid: str, nonce: str, head: Document | None, token: int | None) -> Claim | None:
    """The claim whose name begins like this, still sealed, if the head of its job says that it is that still."""
    owner = (head or {}).get("owner")
    if head is None or token is None or not isinstance(owner, dict):
        return None
    if not str(owner.get("nonce")).startswith(nonce):
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
