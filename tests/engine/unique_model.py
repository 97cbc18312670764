"""A small model of the lock of a unique job: every order of every program's reads and writes, with a death after any.

A program is a place and registers; ``steps`` yields what it may do next, one access to the store at a time. One that
dies is one that is never continued, so each state that is reached also stands for every death on the way to it.
``Rules`` holds the decisions on which it all depends: a wrong one has to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

WAITING, CLAIMED, RUNNING, ENDED, DOUBLE = "waiting", "claimed", "running", "ended", "double"
LIVE = (WAITING, CLAIMED, RUNNING)

FIRST = "J0"
"""The job that an operator retries or removes."""


class Rules(NamedTuple):
    """What the programs do; a seeded mistake changes one of them."""

    takes_over_by_cas: bool = True
    reads_lock_first: bool = True
    looks_again: bool = True
    makes_firm: bool = True
    looks_at_own: bool = True
    joins_only_firm: bool = True
    join_looks_again: bool = True
    claim_reads: bool = True
    claim_makes_firm: bool = True
    retry_writes: bool = True


class Lock(NamedTuple):
    """The job that has the key; ``is_firm``: it was seen live after a read of this; the version of the document."""

    job: str
    is_firm: bool
    version: int


class State(NamedTuple):
    """The store: the lock, each job's status, how many writes there were, and how many of the first job."""

    lock: Lock | None
    jobs: tuple[tuple[str, str], ...]
    writes: int = 1
    token: int = 0

    def status(self, job: str) -> str | None:
        """Return a job's status."""
        return dict(self.jobs).get(job)

    def put(self, job: str, status: str | None) -> State:
        """Return the state with another status of a job, None to remove it."""
        jobs = {**dict(self.jobs), job: status}
        kept = tuple(sorted((j, s) for j, s in jobs.items() if s is not None))
        return self._replace(jobs=kept, token=self.token + (job == FIRST))

    def locked(self, job: str | None, is_firm: bool = True) -> State:
        """Return the state with another lock."""
        lock = None if job is None else Lock(job, is_firm, self.writes + 1)
        return self._replace(lock=lock, writes=self.writes + 1)

    @property
    def live(self) -> frozenset[str]:
        """The jobs that have not ended."""
        return frozenset(job for job, status in self.jobs if status in LIVE)


class Program(NamedTuple):
    """A program at a place, with registers."""

    kind: str
    name: str
    at: str = "start"
    lock: Lock | None = None
    job: str = ""
    token: int = 0

    def to(self, at: str, **registers: object) -> Program:
        """Return the program at another place."""
        return self._replace(at=at, **registers)  # type: ignore[arg-type]


Next = Iterator[tuple[State, Program]]


def steps(state: State, program: Program, rules: Rules) -> Next:
    """Yield what a program may do next, with the state after it."""
    return _KINDS[program.kind](state, program, rules)


def _cas(state: State, me: Program, rules: Rules, job: str, is_firm: bool, then: Program, other: Program) -> Next:
    """Write the lock if it is as it was read."""
    if state.lock == me.lock or not rules.takes_over_by_cas:
        yield state.locked(job, is_firm), then
    else:
        yield state, other


def _submit(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "start" if rules.reads_lock_first:
            yield state, me.to("lock" if state.lock is None else "job", lock=state.lock)
        case "start":  # a mistake: the job first, as an older look at the lock named it
            named = state.lock.job if state.lock is not None else ""
            yield state, me.to(f"late {'live' if state.status(named) in LIVE else state.status(named)}", job=named)
        case "late live" | "late None" | "late ended" | "late double":
            is_same = state.lock is not None and state.lock.job == me.job
            yield state, _judged(me.to("", lock=state.lock), me.at.removeprefix("late ")) if is_same else me.to("start")
            if state.lock is None:
                yield state, me.to("lock", lock=None)
        case "job":
            assert me.lock is not None
            status = state.status(me.lock.job)
            known = me.to("", job=me.lock.job)
            if status in LIVE and (me.lock.is_firm or not rules.joins_only_firm):
                yield state, known.to("same" if rules.join_looks_again else "done")
            else:
                yield state, _judged(known, "live" if status in LIVE else str(status))
        case "same":
            yield state, me.to("done" if state.lock == me.lock else "start")
        case "firm":
            yield from _cas(state, me, rules, me.job, True, me.to("done"), me.to("start"))
        case "lock":
            yield from _cas(state, me, rules, me.name, False, me.to("create", job=me.name), me.to("start"))
        case "create":
            if state.status(me.job) is None:
                yield state.put(me.job, WAITING), me.to("look" if rules.looks_again else "done")
            elif me.job == me.name and state.status(me.job) == ENDED:  # it was made since the lock was written
                yield state, me.to("done")
            else:
                yield state, _afresh(me)
        case "look":
            if state.lock is not None and state.lock.job == me.job:
                yield state, me.to("relock" if rules.makes_firm else "done", lock=state.lock)
            else:
                yield state, me.to("own" if state.lock is None else "other", lock=state.lock)
        case "own":
            own = state.status(me.job) if rules.looks_at_own else WAITING
            if own in (CLAIMED, DOUBLE):  # its claim has ended it, or may be about to
                yield state, _afresh(me)
            else:
                yield state, me.to("relock" if own == WAITING else "done")
        case "relock":
            yield from _cas(state, me, rules, me.job, True, me.to("done"), me.to("look"))
        case _:
            yield from _when_another_is_named(state, me, rules, "own", "look")


def _judged(me: Program, status: str) -> Program:
    """Return a submit that has read the lock and the status of the job that it names."""
    return me.to({"live": "firm", "None": "create"}.get(status, "lock"))


def _when_another_is_named(state: State, me: Program, rules: Rules, over: str, again: str) -> Next:
    """Look at the other job; end the own one if that is live and the lock firm."""
    match me.at:
        case "other":
            assert me.lock is not None
            if state.status(me.lock.job) in LIVE:
                yield state, me.to("end double" if me.lock.is_firm else "make firm")
            else:
                yield state, me.to(over)
        case "make firm":
            assert me.lock is not None
            yield from _cas(state, me, rules, me.lock.job, True, me.to("end double"), me.to(again))
        case "end double":
            status = state.status(me.job)
            if me.kind == "work":
                yield state.put(me.job, DOUBLE), me.to("start", job="", lock=None)
            elif status in (RUNNING, ENDED):  # rightly
                yield state, me.to("done")
            else:  # its claim ends it, if it is claimed
                yield (state.put(me.job, DOUBLE) if status == WAITING else state), _afresh(me)


def _afresh(me: Program) -> Program:
    """Return a submit that begins again, with another uuid if its own is used up; the model has one more for each."""
    if me.job != me.name:
        return me.to("start", job="", lock=None)
    is_last = me.name.endswith("'")
    return me.to("dead" if is_last else "start", job="", lock=None, name=f"{me.name[0]}'")


def _work(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "start":
            for job, status in state.jobs:
                if status == WAITING:
                    yield state.put(job, CLAIMED), me.to("lock" if rules.claim_reads else "run", job=job)
        case "lock":
            if state.lock is not None and state.lock.job != me.job:
                yield state, me.to("other", lock=state.lock)
            elif (state.lock is None or not state.lock.is_firm) and rules.claim_makes_firm:
                yield state, me.to("write", lock=state.lock)
            else:
                yield state, me.to("run", lock=None)
        case "write":
            yield from _cas(state, me, rules, me.job, True, me.to("run", lock=None), me.to("lock"))
        case "run":
            yield state.put(me.job, RUNNING), me.to("end")
        case "end":
            yield state.put(me.job, ENDED), me.to("start", job="")
        case _:
            yield from _when_another_is_named(state, me, rules, "write", "lock")


def _retry(state: State, me: Program, rules: Rules) -> Next:
    can_be = state.status(me.job) in (ENDED, DOUBLE)
    match me.at:
        case "start":
            yield state, me.to(("lock" if rules.retry_writes else "write") if can_be else "done", token=state.token)
        case "lock":
            is_other = state.lock is not None and state.lock.job != me.job
            yield state, me.to("other" if is_other else "bump", lock=state.lock)
        case "other":
            assert me.lock is not None
            yield state, me.to("done" if state.status(me.lock.job) in LIVE else "bump")
        case "bump":
            yield from _cas(state, me, rules, me.job, False, me.to("write", lock=None), me.to("lock"))
        case "write":
            if state.token == me.token:
                yield state.put(me.job, WAITING), me.to("done", token=0)
            else:
                yield state, me.to("start", token=0)


def _discard(state: State, me: Program, rules: Rules) -> Next:
    can_be = state.status(me.job) in (ENDED, DOUBLE)
    match me.at:
        case "start":
            yield state, me.to("lock" if can_be else "done", token=state.token)
        case "lock":
            is_named = state.lock is not None and state.lock.job == me.job
            yield state, me.to("again" if is_named else "delete", lock=state.lock)
        case "again":
            yield state, me.to("delete" if state.status(me.job) in LIVE else "drop")
        case "drop":
            if state.lock == me.lock:
                yield state.locked(None), me.to("delete", lock=None)
            else:
                yield state, me.to("lock")
        case "delete":
            if state.token == me.token:
                yield state.put(me.job, None), me.to("done", lock=None, token=0)
            else:
                yield state, me.to("start", lock=None, token=0)


_KINDS: dict[str, Callable[[State, Program, Rules], Next]] = {
    "submit": _submit,
    "work": _work,
    "retry": _retry,
    "discard": _discard,
}
