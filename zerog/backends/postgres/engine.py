"""The job lifecycle in one PostgreSQL database: submit, claim and settle in one statement each.

``step`` settles all ended runs and claims all free jobs in a single statement. A job of a kind that the worker names is
claimed by SQL alone, which compares what the last writer has computed for it (``rows.derived``); its head is read by
the thread that is to run it. Every other entry is held and returned with its job's row, and each is decided about here:
its job is claimed by compare-and-swap, or the entry is moved. A crash meanwhile leaves held entries, which return after
their time to run. Rows are locked for the time of the statement, entries with FOR UPDATE SKIP LOCKED, so that workers
get different ones.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from zerog.backends.postgres import statements
from zerog.backends.postgres.datastore import change_parameters
from zerog.backends.postgres.draft import Draft
from zerog.backends.postgres.rows import Row, head_of, json_object, kind_of
from zerog.backends.postgres.writes import REMEMBERED, PostgresWrites, Put, of_ends
from zerog.contracts.queue import FAIR_SHARE
from zerog.engine import transitions
from zerog.engine.decision import EARLY
from zerog.engine.deferred import DeferredClaims, Unclaimed
from zerog.engine.engine import Loader, new_nonce
from zerog.engine.transitions import Claim, Settled, Settlement, Step, WorkerIdentity
from zerog.exceptions import AmbiguousWrite
from zerog.records.fields import DOCUMENT_TYPE
from zerog.records.job import Document
from zerog.records.operations import Set
from zerog.support import jsonvalues
from zerog.support.clock import text_after
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

ENTRIES = 1_000
"""Entries examined in one step at most, once it has claimed a job."""

NOTHING = (None,) * 6
"""In place of the columns of an entry to be put."""

OF_EACH_JOB = frozenset({"epoch", "attempts", "owner", "run", "startedAt", "updatedAt"})
"""Fields of a claim that the statement computes; all others are the same for each job."""


_NOT_BEFORE = re.compile(r'"notBefore":"([^"]+)"')
"""Finds in ``state``, to which a claim appends what it changes, the time from which a job could be taken."""


class Left(NamedTuple):
    """An entry that SQL alone could not claim the job of, held for this worker; that job's row, if there is one."""

    id: int
    uuid: str
    row: Row | None

    def read(self) -> tuple[Document | None, int]:
        """Return the head and the token. Raises CorruptDocument."""
        return (None, 0) if self.row is None else (head_of(self.row), self.row.cas)


class Taken(NamedTuple):
    """What a claim leaves to do."""

    left: list[Left]
    is_due: bool
    """True if entries are to be made ready."""
    is_short: bool
    """True if fewer entries were taken than wanted, for the turn of the lowest priority is another one's now."""
    has_put: bool
    """True if the statement put entries for the runs that it settled, which its own claims don't see."""


class Move(NamedTuple):
    """What becomes of an entry: off its queue (``due`` None), or on one from ``due`` on."""

    id: int
    due: float | None = None
    queue: str | None = None


class PostgresEngine(DeferredClaims, PostgresWrites):
    """Engine over both parts in one database: ``queue.server`` must be ``datastore.server``."""

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
        if want <= 0:
            return Step(self.settle(settlements), [])
        rest = self.settle(settlements[self.at_once :])
        settlements = settlements[: self.at_once]
        call = _Call(worker, self.serving(queues, worker), batch or new_nonce())
        claims: list[Claim] = []
        settled: list[Settled] = []
        trouble: Exception | None = None
        try:
            settled, taken = self._settle_and_claim(settlements, claims, want, call)
            self._claim_all(claims, taken, want, call, loader)
        except Exception as error:
            trouble = error
        if len(settled) < len(settlements):
            settled = [trouble or RuntimeError("not settled")] * len(settlements)
        if not deferred:
            claims = self.load_claims(claims, loader)
        return Step(settled + rest, claims, trouble)

    def _claim_all(self, claims: list[Claim], taken: Taken, want: int, call: _Call, loader: Loader) -> None:
        """Decide about the entries that are left, and claim more while there are any and too few could be claimed."""
        looked = 0
        while True:
            looked += len(taken.left)
            self._claim_left(claims, taken.left, want, call, loader)
            if taken.is_due:
                self.queue.promote()
                call.due_first = False
            if len(claims) >= want or not any(taken) or (claims and looked >= ENTRIES):
                return
            call.look = min(ENTRIES, 4 * max(call.look, len(taken.left)))
            _, taken = self._settle_and_claim((), claims, want - len(claims), call)

    def _settle_and_claim(
        self, settlements: Sequence[Settlement], claims: list[Claim], want: int, call: _Call
    ) -> tuple[list[Settled], Taken]:
        """Add to ``claims`` in the statement that settles.

        Raises the errors of the statement.
        """
        want = min(want, self.at_once)
        ends = self._ends(settlements)
        drafts, puts = of_ends(ends)
        parameters = call.parameters(self._now(), self.queue.time(), want, self._turn)
        if settlements:
            failpoint("settle.write")
        failpoint("claim.write")
        if drafts:
            parameters |= change_parameters(drafts, puts)
            answers = self._server.write(statements.change_and_claim(parameters), parameters, "settling and claiming")
        else:
            answers = self._server.write(statements.claim(parameters), parameters, "claiming")
        if settlements:
            failpoint("settle.written")
        done = {row_id: entry for what, _, _, row_id, *_, entry, _ in answers if what == "changed"}
        taken = self._in_turn([answer for answer in answers if answer[0] in ("claimed", "left")])
        made = [self._claim_of(answer, call) for answer in taken if answer[0] == "claimed"]
        if made:
            failpoint("claim.written")
        claims += made
        self._turn = (self._turn + len(made)) % FAIR_SHARE
        left = [_left_of(answer) for answer in taken if answer[0] == "left"]
        said = {answer[0] for answer in answers}
        has_put = any(settlement.kind != "finish" for settlement in settlements)
        return self._settled(settlements, ends, done), Taken(left, "due" in said, "short" in said, has_put)

    def _in_turn(self, answers: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return taken entries in their order, those of the lowest priority each in its turn."""
        answers.sort(key=lambda answer: answer[1])
        low = deque(answer for answer in answers if answer[1] > statements.LOW)
        others = deque(answer for answer in answers if answer[1] < statements.LOW)
        ordered: list[tuple[Any, ...]] = []
        while low or others:
            is_turn = (self._turn + len(ordered)) % FAIR_SHARE == FAIR_SHARE - 1
            ordered.append((low if low and (is_turn or not others) else others).popleft())
        return ordered

    def _claim_of(self, answer: tuple[Any, ...], call: _Call) -> Claim:
        _, n, key, row_id, cas, lists, state, _, body, epoch, _, _ = answer
        nonce = f"{call.nonce}{n}"
        self._remember(nonce, self.datastore.draft(Row(key, row_id, cas, lists, state, True, None)))
        claim = Claim(key, key.removeprefix(f"{DOCUMENT_TYPE}_"), epoch, nonce, cas, {}, raw_head=(state, body))
        claim.ready = max(_NOT_BEFORE.findall(state), default="") if '"notBefore":"' in state else ""
        return claim

    def _remember(self, nonce: str, draft: Draft) -> None:
        while len(self._claimed) >= REMEMBERED:
            self._claimed.popitem(last=False)
        self._claimed[nonce] = draft

    def read_raw_head(self, claim: Claim) -> Document:
        (state, body), draft = claim.raw_head, self._claimed.get(claim.nonce)
        if draft is None:
            return head_of(Row(claim.key, 0, 0, "", state, True, body))
        # The settlement needs the same state as it is now; the job may change what is in its head.
        return {**json_object(draft.row, body), **jsonvalues.copy(draft.state)}

    def _claim_left(self, claims: list[Claim], left: Sequence[Left], want: int, call: _Call, loader: Loader) -> None:
        """Claim the jobs of entries that are accepted until there are ``want``; move or remove the other entries."""
        moves: list[Move] = []
        made: dict[int, Claim] = {}
        puts: dict[int, Put] = {}  # nothing is put, but the entry is taken off its queue
        drafts: list[Draft] = []
        if left:
            failpoint("claim.reserved")
        for each in left:
            if len(claims) + len(drafts) >= want:
                moves.append(Move(each.id, 0.0))
                continue
            considered = self._consider(each.uuid, each.read, call.worker, loader)
            if isinstance(considered, Unclaimed):
                moves.append(self._moved(each, considered))
                continue
            head, loaded = considered
            assert each.row is not None
            if each.row.id in made:  # another entry of this very job
                moves.append(Move(each.id, 0.0))
                continue
            nonce = call.next_nonce()
            draft = self.datastore.draft(each.row)
            ready = transitions.ready_since(head)
            draft.apply(transitions.claimed(head, call.worker, nonce, self._now()))
            head = {**head, **draft.state}
            made[each.row.id] = Claim(each.row.key, each.uuid, head["epoch"], nonce, each.row.cas + 1, head, loaded)
            made[each.row.id].ready = ready
            puts[each.row.id] = (*NOTHING, each.id)
            drafts.append(draft)
        self._move(moves)
        if not drafts:
            return
        try:
            failpoint("claim.write")
            done = self.datastore.store(drafts, puts)
            failpoint("claim.written")
        except AmbiguousWrite as error:
            log.warning("%d claims were not answered and are read back: %s", len(made), error)
            claims += self.read_back(list(made.values()))
            return
        won = [claim for row_id, claim in made.items() if row_id in done]
        claims += won
        self._move([Move(put[-1], 0.0) for row_id, put in puts.items() if row_id not in done])
        self._turn = (self._turn + len(won)) % FAIR_SHARE

    def _moved(self, left: Left, where: Unclaimed) -> Move:
        if where.queue is not None:
            return Move(left.id, 0.0, where.queue)
        return Move(left.id, self.queue.due_after(where.delay) if where.delay else None)

    def _move(self, moves: Sequence[Move]) -> None:
        if moves:
            stay = [move for move in moves if move.due is not None]
            parameters = {
                "ids": [move.id for move in stay],
                "due": [move.due for move in stay],
                "queue": [move.queue for move in stay],
                "gone": [move.id for move in moves if move.due is None],
            }
            self._server.write(statements.MOVE_ENTRIES, parameters, "moving entries")

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        names = self.serving(queues)
        is_ready, due = self.queue.look(names)
        if is_ready:
            return True
        is_put = self.queue.wait(timeout, names, due)
        return self.queue.look(names)[0] if is_put is None else is_put

    def wake(self, queues: Sequence[str] = ()) -> None:
        self.queue.wake()


class _Call:
    """Parameters shared by the statements of one step; the nonces of its claims begin with ``batch``."""

    def __init__(self, worker: WorkerIdentity, queues: tuple[str, ...], batch: str) -> None:
        self.worker = worker
        self._queues = list(queues)
        self._batch = batch
        self._calls = 0
        self.look = 0
        """Entries to look at, if more than are wanted: after some that could not be taken."""
        self.due_first = True
        """True if nothing is to be claimed while entries are due, since these may come before those that are ready."""
        self.nonce = ""
        """What the nonces begin with that the latest statement numbers."""

    def next_nonce(self) -> str:
        """Return a nonce for one claim, or for a statement to number its claims from; unique within the batch."""
        self._calls += 1
        return f"{self._batch}{self._calls}-"

    def parameters(self, now: str, seconds: float, want: int, turn: int) -> dict[str, Any]:
        """Return the parameters of a claim of ``want`` jobs, of which each FAIR_SHARE-th is of the lowest priority.

        ``turn``: how many were taken since the last one of those.
        """
        self.nonce = self.next_nonce()
        return {
            "queues": self._queues,
            "upwards": self._queues[::-1],
            "want": want,
            "look": max(want, self.look),
            "due_first": self.due_first,
            "turn": FAIR_SHARE - 1 - turn,
            "low": (turn + want) // FAIR_SHARE,
            "now": seconds,
            "now_text": now,
            "soon_text": text_after(now, EARLY),
            "batch": self.nonce,
            **_of_worker(self.worker),
        }


@lru_cache(maxsize=8)
def _of_worker(worker: WorkerIdentity) -> dict[str, Any]:
    """Return the parameters that depend on the worker alone."""
    mark = "\0"
    owner = jsonvalues.encode_checked(worker.as_owner(mark))
    before, after = owner.split(jsonvalues.encode_checked(mark)[1:-1])
    constant = {
        operation.field: operation.value
        for operation in transitions.claimed({"epoch": 0}, worker, "", "")
        if isinstance(operation, Set) and operation.field not in OF_EACH_JOB
    }
    return {
        "kinds": [kind_of(job_type, version) for job_type, version in worker.knows],
        "before_nonce": before,
        "after_nonce": after,
        "fields": f",{jsonvalues.encode_checked(constant)[1:-1]}",
    }


def _left_of(answer: tuple[Any, ...]) -> Left:
    _, _, key, row_id, cas, lists, state, sound, body, _, entry, uuid = answer
    return Left(entry, uuid, None if key is None else Row(key, row_id, cas, lists, state, sound, body))
