"""Jobs that the script of a Redis server claims in the same step that takes their entries off a queue.

It does so for jobs that need no check here: submitted by an engine, of a type and schema version known to the worker,
waiting, not cancelled, not delayed. The nonces of the claims of one call share a prefix, and the worker's record lists
that prefix until the call is answered: the audit (``zerog.maintenance.audit``) releases the jobs of an unanswered call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from zerog.backends.redis.commands import Command, hash_name, head_of, text_of, token_of
from zerog.backends.redis.queue import uuid_of
from zerog.engine import transitions
from zerog.engine.deferred import Unclaimed
from zerog.engine.engine import new_nonce
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.records.fields import FORMAT
from zerog.records.job import KEY_PREFIX, Document, make_key
from zerog.records.operations import Set
from zerog.support import jsonvalues

OF_EACH_JOB = frozenset({"epoch", "attempts", "owner", "run", "startedAt", "updatedAt"})
"""Fields of a claim that the script computes; all others are the same for each job."""


class Take:
    """Parameters shared by the calls that claim a worker's next jobs; the claims' nonces begin with ``batch``."""

    def __init__(self, worker: WorkerIdentity, queues: tuple[str, ...], batch: str) -> None:
        self.worker = worker
        self.queues = queues
        self._batch = batch
        self._calls = 0

    def next_nonce(self) -> str:
        """Return a nonce for one claim, or for the script to number its claims from; unique within the batch."""
        self._calls += 1
        return f"{self._batch}{self._calls}-"

    def claiming(self, now: str) -> Command:
        """Return the script's parameters for claims within a take; empty if the worker must check each job first."""
        if not self.worker.knows:
            return {}
        kinds, fields, owner = _constant(self.worker)
        claiming = {
            "kinds": kinds,
            "fields": fields,
            "owner": owner,
            "name": self.next_nonce(),
            "now": text_of(now, "updatedAt"),
            "key_prefix": KEY_PREFIX,
        }
        return {"claims": claiming}


class Taken:
    """A taken entry, and the head of its job: before its claim, or after it."""

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
        """Return the command that drops a useless entry."""
        return {"command": "ack", "entry": self.place}

    def read(self) -> tuple[Document | None, int]:
        """Return the head and the token. Raises CorruptDocument."""
        if not self.token:
            return None, 0
        key = make_key(self.uuid)
        token = token_of(key, (self.token,))
        return head_of(key, (self.token, self.text)), token

    def moved(self, where: Unclaimed) -> Command:
        """Return the command that drops the entry, puts it back, or moves it to a queue."""
        if where.queue is not None:
            return {"command": "aside", "entry": self.place, "to": where.queue}
        if where.delay:
            return {"command": "back", "entry": self.place, "delay": repr(float(where.delay))}
        return self.drop()

    def claim(self) -> Claim:
        """Return the script's claim, not loaded yet."""
        return Claim(make_key(self.uuid), self.uuid, self.epoch, self.nonce, int(self.token), {}, raw_head=self.text)


def taken_in(flat: Sequence[bytes]) -> list[Taken]:
    """Return the taken entries in the script's answer."""
    return [Taken(*flat[i : i + 5]) for i in range(0, len(flat), 5)]


def kind_of(job_type: str, version: float, layout: int) -> str:
    """Return the text beside a document by which the script recognizes a job of a kind known to the worker."""
    return jsonvalues.encode_checked([job_type, version, layout])


@lru_cache(64)
def _constant(worker: WorkerIdentity) -> tuple[list[str], list[str], list[str]]:
    """Return the kinds known to a worker, the fields that its claims set, and the owner around the claim's name."""
    mark = new_nonce()
    fields: list[str] = []
    for operation in transitions.claimed({"epoch": 0}, worker, mark, ""):
        if operation.field not in OF_EACH_JOB:
            assert isinstance(operation, Set)
            fields += (hash_name(operation.field), text_of(operation.value, operation.field))
    owner = jsonvalues.encode_checked(worker.as_owner(mark)).split(mark)
    return [kind_of(*known, FORMAT) for known in worker.knows], fields, owner
