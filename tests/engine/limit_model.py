"""A small model of one limit with one slot: every order of every program's reads and writes, with deaths between them.

As in ``unique_model``, a program is a place and registers, and makes one access to the store at a time. A worker that
is marked to may die before any of them; then its job may be rescued. ``Rules`` holds the decisions on which it all
depends: a wrong one has to be found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

QUEUED, CLAIMED, RUNNING, PARKED, ENDED = "queued", "claimed", "running", "parked", "ended"

OWNED = (CLAIMED, RUNNING)

RUNS = 2
"""Claims that a worker makes, at most."""


class Rules(NamedTuple):
    """What the programs do; a seeded mistake changes one of them."""

    writes_by_cas: bool = True
    takes_before_running: bool = True
    gives_after_the_end: bool = True
    lists_after_parking: bool = True
    looks_again: bool = True
    reads_slots_first: bool = True
    claimed_runs_count: bool = True
    drops_ended: bool = True
    sweep_lists: bool = True


class Slots(NamedTuple):
    """The limit's document: the run that has the slot, the job it is kept for, whether a lane is listed."""

    holder: str = ""
    kept: str = ""
    lane: bool = False
    version: int = 0

    @property
    def has_room(self) -> bool:
        """True if the slot is free."""
        return not self.holder and not self.kept


class Job(NamedTuple):
    """A job: its status, and its run while it is owned."""

    status: str = QUEUED
    run: str = ""


class State(NamedTuple):
    """The store."""

    slots: Slots
    jobs: tuple[Job, ...]

    def put(self, number: int, job: Job) -> State:
        """Return the state with another document of a job."""
        return self._replace(jobs=(*self.jobs[:number], job, *self.jobs[number + 1 :]))

    def find(self, but: str = "") -> int | None:
        """Return the first parked job, but for one."""
        found = (n for n, job in enumerate(self.jobs) if job.status == PARKED and str(n) != but)
        return next(found, None)

    def is_over(self, run: str, counts: tuple[str, ...]) -> bool:
        """True if no job is in a run of this name."""
        return not any(job.run == run and job.status in counts for job in self.jobs)


class Program(NamedTuple):
    """A program at a place, with registers."""

    kind: str
    name: str
    may_die: bool = False
    at: str = "start"
    job: int = -1
    run: str = ""
    runs: int = 0
    read: Slots = Slots()
    found: int = -1
    give: str = ""
    unkeep: int = -1
    listing: bool = False
    live: tuple[str, ...] = ()

    def to(self, at: str, **registers: object) -> Program:
        """Return the program at another place."""
        return self._replace(at=at, **registers)  # type: ignore[arg-type]


Next = Iterator[tuple[State, Program]]


def steps(state: State, me: Program, rules: Rules) -> Next:
    """Yield what a program may do next, with the state after it."""
    if me.may_die and me.at not in ("start", "dead"):
        yield state, Program(me.kind, me.name, at="dead", job=me.job, run=me.run)
    yield from _KINDS[me.kind](state, me, rules)


def rescued(state: State, me: Program) -> State:
    """Return the state after the rescue of the job of a worker that is dead."""
    has_it = me.at == "dead" and me.job >= 0 and state.jobs[me.job].run == me.run
    return state.put(me.job, Job()) if has_it else state


def _cas(state: State, me: Program, rules: Rules, slots: Slots, then: Program, again: Program) -> Next:
    if slots._replace(version=0) == me.read._replace(version=0):
        yield state, then  # there is nothing to write
    elif state.slots == me.read or not rules.writes_by_cas:
        yield state._replace(slots=slots._replace(version=state.slots.version + 1)), then
    else:
        yield state, again


def _work(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "start":
            for number, job in enumerate(state.jobs):
                if job.status == QUEUED and me.runs < RUNS:
                    run = f"{me.name}{me.runs}"
                    then = "read" if rules.takes_before_running else "run"
                    yield state.put(number, Job(CLAIMED, run)), me.to(then, job=number, run=run, runs=me.runs + 1)
        case "read":
            yield state, me.to("take", read=state.slots)
        case "take":
            is_kept, done = me.read.kept == str(me.job), me.to("", read=Slots())
            slots = me.read._replace(kept="") if is_kept else me.read
            if (slots.lane and not is_kept) or not slots.has_room:
                yield from _cas(state, me, rules, slots._replace(lane=True), done.to("park"), done.to("read"))
            else:
                yield from _cas(state, me, rules, slots._replace(holder=me.run), done.to("run"), done.to("read"))
        case "run":
            yield state.put(me.job, Job(RUNNING, me.run)), me.to("end" if rules.gives_after_the_end else "give early")
        case "give early":  # a mistake
            slots = state.slots._replace(holder="", version=state.slots.version + 1)
            yield state._replace(slots=slots), me.to("end")
        case "end":
            yield state.put(me.job, Job(ENDED)), me.to("pump", give=me.run)
        case "park":
            then = me.to("pump", listing=True) if rules.lists_after_parking else _idle(me)
            yield state.put(me.job, Job(PARKED)), then
        case _:
            yield from _pump(state, me, rules)


def _sweep(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "start":
            if state.find() is not None:
                yield state, me.to("slots" if rules.reads_slots_first else "early jobs")
            else:
                yield state, me.to("done")
        case "early jobs":  # a mistake: the runs are judged by what was read before the slots
            live = tuple(job.run for job in state.jobs if job.status in OWNED)
            yield state, me.to("slots", live=live)
        case "slots":
            yield state, me.to("jobs", read=state.slots)
        case "jobs":
            counts = OWNED if rules.claimed_runs_count else (RUNNING,)
            is_over = (
                state.is_over(me.read.holder, counts) if rules.reads_slots_first else me.read.holder not in me.live
            )
            slots, done = me.read, me.to("", read=Slots(), live=())
            if is_over and rules.drops_ended:
                slots = slots._replace(holder="")
            for kept in (slots.kept, ""):  # for too long, in the second case
                mended = slots._replace(kept=kept, lane=slots.lane or rules.sweep_lists)
                yield from _cas(state, me, rules, mended, done.to("pump"), done.to("slots"))
        case _:
            yield from _pump(state, me, rules)


def _pump(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "pump":
            yield state, me.to("find", read=state.slots)
        case "find":
            slots = _changed(me)
            found = state.find(slots.kept) if slots.has_room and slots.lane else None
            yield state, me.to("write", found=-1 if found is None else found)
        case "write":
            slots = _changed(me)
            has_looked = slots.has_room and slots.lane
            if has_looked:
                slots = slots._replace(kept=str(me.found)) if me.found >= 0 else slots._replace(lane=False)
            done = me.to("", give="", listing=False, unkeep=-1, read=Slots())
            if me.found >= 0:
                then = done.to("wake")
            elif has_looked and rules.looks_again:
                then = done.to("look")
            else:
                then = _idle(done)
            yield from _cas(state, me, rules, slots, then, me.to("pump", read=Slots(), found=-1))
        case "look":
            yield state, _idle(me) if state.find() is None else me.to("pump", listing=True)
        case "wake":
            if state.jobs[me.found].status == PARKED:
                yield state.put(me.found, Job(QUEUED)), me.to("pump", found=-1)
            else:
                yield state, me.to("pump", unkeep=me.found, found=-1)


def _changed(me: Program) -> Slots:
    """Return the slots with what this program changes of them."""
    slots = me.read._replace(lane=me.read.lane or me.listing)
    if me.give and slots.holder == me.give:
        slots = slots._replace(holder="")
    return slots._replace(kept="") if slots.kept == str(me.unkeep) else slots


def _idle(me: Program) -> Program:
    """Return a program that has done its part."""
    at = "done" if me.kind == "sweep" else "start"
    return me._replace(at=at, job=-1, run="", found=-1, give="", listing=False)


_KINDS = {"work": _work, "sweep": _sweep}
