"""Jobs that the script of a Redis server claims in the same step in which it takes their entries off a queue.

It does so for those that need no look: submitted by an engine, of a type and schema version that the worker knows,
waiting, not cancelled, not delayed. The names of the claims of one call begin alike, and the worker's record lists that
beginning until the call is answered: jobs of a call without an answer are given back by the audit
(``zerog.maintenance.audit``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from zerog.backends.redis.commands import Command, hash_name, text_of
from zerog.backends.redis.queue import uuid_of
from zerog.engine import transitions
from zerog.engine.engine import new_nonce
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.records.fields import DOCUMENT_TYPE, FORMAT
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support import jsonvalues

OF_EACH_JOB = frozenset({"epoch", "attempts", "owner", "run", "startedAt", "updatedAt"})
"""What a claim writes that the script has to work out; all else is the same for each job."""


class Take:
    """What the calls share by which a worker claims its next jobs; the nonces of the claims begin with ``batch``."""

    def __init__(self, worker: WorkerIdentity, queues: tuple[str, ...], batch: str) -> None:
        self.worker = worker
        self.queues = queues
        self._batch = batch
        self._calls = 0

    def next_nonce(self) -> str:
        """A nonce for one claim, or for the script to number its claims from: no other claim of the batch has it."""
        self._calls += 1
        return f"{self._batch}{self._calls}-"

    def claiming(self, now: str) -> Command:
        """What the script needs to claim jobs while it takes them; empty if the worker wants to look at each first."""
        if not self.worker.knows:
            return {}
        kinds, fields, owner = _constant(self.worker)
        claiming = {
            "k": kinds,
            "f": fields,
            "o": owner,
            "n": self.next_nonce(),
            "u": text_of(now, "updatedAt"),
            "d": f"{DOCUMENT_TYPE}_",
        }
        return {"b": claiming}


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

    def moved(self, where: float | str) -> Command:
        """The command for an entry that comes again after so many seconds, never (0), or on the queue of its kind."""
        if isinstance(where, str):
            return {"c": "aside", "a": self.place, "t": where}
        return {"c": "back", "a": self.place, "s": repr(float(where))} if where else self.drop()

    def claim(self) -> Claim:
        """What the script has claimed, not loaded yet."""
        return Claim(make_key(self.uuid), self.uuid, self.epoch, self.nonce, int(self.token), {}, raw_head=self.text)


def taken_in(flat: Sequence[bytes]) -> list[Taken]:
    """What the script has taken, out of its answer."""
    return [Taken(*flat[i : i + 5]) for i in range(0, len(flat), 5)]


def kind_of(job_type: str, version: float, layout: int) -> str:
    """What is noted beside a document so that the script knows whether a worker knows it."""
    return jsonvalues.encode_checked([job_type, version, layout])


@lru_cache(64)
def _constant(worker: WorkerIdentity) -> tuple[list[str], list[str], list[str]]:
    """The kinds that a worker knows, what each of its claims sets, and the owner before and behind its name."""
    mark = new_nonce()
    fields: list[str] = []
    for operation in transitions.claimed({"epoch": 0}, worker, mark, ""):
        if operation.field not in OF_EACH_JOB:
            assert isinstance(operation, Set)
            fields += (hash_name(operation.field), text_of(operation.value, operation.field))
    owner = jsonvalues.encode_checked(worker.as_owner(mark)).split(mark)
    return [kind_of(*known, FORMAT) for known in worker.knows], fields, owner
