"""A small model of one limit with one slot: every order of every program's reads and writes, with deaths between them.

As in ``unique_model``, a program is a place and registers, and makes one access to the store at a time. A worker that
is marked to may die before any of them; then its job may be rescued. ``Rules`` holds the decisions on which it all
depends: a wrong one has to be found. A worker that ``follows`` may claim a second job for the slot of its first one,
whose run begins when that of the first one is over, and wakes one parked job more than there are slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

QUEUED, CLAIMED, RUNNING, RAN, PARKED, ENDED = "queued", "claimed", "running", "ran", "parked", "ended"

OWNED = (CLAIMED, RUNNING, RAN)

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
    follows_what_is_listed: bool = True
    follows_what_has_ended: bool = True
    gives_one_run: bool = True
    judges_each_run: bool = True


class Slots(NamedTuple):
    """The limit's document: the runs that share the slot, the job it is kept for, one that was woken without it, and
    whether a lane is listed."""

    holders: tuple[str, ...] = ()
    kept: str = ""
    ahead: str = ""
    lane: bool = False
    version: int = 0

    @property
    def has_room(self) -> bool:
        """True if the slot is free."""
        return not self.holders and not self.kept

    def without(self, job: int) -> Slots:
        """Return the slots without what is noted of a job that was woken."""
        slots = self._replace(kept="") if self.kept == str(job) else self
        return slots._replace(ahead="") if slots.ahead == str(job) else slots


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
    follows: bool = False
    at: str = "start"
    job: int = -1
    run: str = ""
    runs: int = 0
    next_job: int = -1
    next_run: str = ""
    rest: tuple[str, int, str] | None = None
    read: Slots = Slots()
    found: int = -1
    give: str = ""
    unkeep: int = -1
    listing: bool = False
    live: tuple[str, ...] = ()
    dead: tuple[tuple[int, str], ...] = ()

    @property
    def next_of(self) -> tuple[int, str]:
        """Return the job and the run that take a slot: those that are to follow, if there are any."""
        return (self.next_job, self.next_run) if self.next_job >= 0 else (self.job, self.run)

    def parking(self) -> Program:
        """Return the program as it parks that job; one that is to follow leaves the other one to be run."""
        if self.next_job < 0:
            return self.to("park")
        rest = ("run", self.job, self.run)
        return self.to("park", job=self.next_job, run=self.next_run, next_job=-1, next_run="", rest=rest)

    def dying(self) -> Program:
        """Return the program dead, with the runs that it leaves."""
        runs = {(self.job, self.run), (self.next_job, self.next_run), (self.rest or ("", -1, ""))[1:], *self.dead}
        return Program(self.kind, self.name, at="dead", dead=tuple(sorted(run for run in runs if run[0] >= 0)))

    def to(self, at: str, **registers: object) -> Program:
        """Return the program at another place."""
        return self._replace(at=at, **registers)  # type: ignore[arg-type]


Next = Iterator[tuple[State, Program]]


def steps(state: State, me: Program, rules: Rules) -> Next:
    """Yield what a program may do next, with the state after it."""
    if me.may_die and me.at not in ("start", "dead"):
        yield state, me.dying()
    yield from _KINDS[me.kind](state, me, rules)


def rescued(state: State, me: Program) -> list[State]:
    """Return the states after the rescue of a job of a worker that is dead."""
    return [state.put(job, Job()) for job, run in me.dead if state.jobs[job].run == run]


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
            job, run = me.next_of
            is_woken = str(job) in (me.read.kept, me.read.ahead)
            slots = me.read.without(job) if is_woken else me.read
            slots, done = slots._replace(holders=(*slots.holders, run)), me.to("", read=Slots())
            if (not me.read.lane or is_woken) and _may_take(me, rules):
                yield from _cas(state, me, rules, slots, done.to("run"), done.to("read"))
            else:
                slots = me.read.without(job)._replace(lane=True)
                yield from _cas(state, me, rules, slots, done.parking(), done.to("read"))
        case "run":
            for number, job in enumerate(state.jobs):
                if job.status == QUEUED and me.follows and me.next_job < 0 and me.runs < RUNS:
                    run = f"{me.name}{me.runs}"
                    follower = me.to("read", next_job=number, next_run=run, runs=me.runs + 1)
                    yield state.put(number, Job(CLAIMED, run)), follower
            then = me.to("end" if rules.gives_after_the_end else "give early")
            yield state.put(me.job, Job(RUNNING, me.run)), then
        case "give early":  # a mistake
            slots = state.slots._replace(holders=(), version=state.slots.version + 1)
            yield state._replace(slots=slots), me.to("end")
        case "end" if me.next_job >= 0:
            after = state.put(me.job, Job(RAN, me.run)) if rules.follows_what_has_ended else state
            yield after, me.to("settle", rest=("run", me.next_job, me.next_run), next_job=-1, next_run="")
            after = after.put(me.next_job, Job(RUNNING, me.next_run))
            yield after, me.to("settle", rest=("end", me.next_job, me.next_run), next_job=-1, next_run="")
        case "end" | "settle":
            yield state.put(me.job, Job(ENDED)), me.to("pump", give=me.run)
        case "park":
            then = me.to("pump", listing=True) if rules.lists_after_parking else _idle(me)
            yield state.put(me.job, Job(PARKED)), then
        case _:
            yield from _pump(state, me, rules)


def _may_take(me: Program, rules: Rules) -> bool:
    """True if there is a slot for a claim: a free one, or that of another run of this worker."""
    job, _ = me.next_of
    if me.next_job >= 0:
        return me.run in me.read.holders or not rules.follows_what_is_listed
    is_free = me.read.without(job).has_room
    return is_free or (not rules.follows_what_is_listed and me.follows and me.runs > 1)


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
            over = [run for run in me.read.holders if _is_over(state, me, run, counts, rules)]
            slots, done = me.read, me.to("", read=Slots(), live=())
            if over and rules.drops_ended:
                left = tuple(run for run in slots.holders if run not in over) if rules.judges_each_run else ()
                slots = slots._replace(holders=left)
            for kept, ahead in ((slots.kept, slots.ahead), ("", "")):  # for too long, in the second case
                mended = slots._replace(kept=kept, ahead=ahead, lane=slots.lane or rules.sweep_lists)
                yield from _cas(state, me, rules, mended, done.to("pump"), done.to("slots"))
        case _:
            yield from _pump(state, me, rules)


def _is_over(state: State, me: Program, run: str, counts: tuple[str, ...], rules: Rules) -> bool:
    """True if a run is over by what a sweep has read."""
    return state.is_over(run, counts) if rules.reads_slots_first else run not in me.live


def _pump(state: State, me: Program, rules: Rules) -> Next:
    match me.at:
        case "pump":
            yield state, me.to("find", read=state.slots)
        case "find":
            slots = _changed(me, rules)
            found = state.find(slots.kept) if slots.lane and _may_wake(me, slots) else None
            yield state, me.to("write", found=-1 if found is None else found)
        case "write":
            slots = _changed(me, rules)
            has_looked = slots.lane and _may_wake(me, slots)
            if has_looked and me.found < 0:
                slots = slots._replace(lane=False)
            elif has_looked:
                slots = slots._replace(**{"kept" if slots.has_room else "ahead": str(me.found)})
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


def _may_wake(me: Program, slots: Slots) -> bool:
    """True if a parked job may be woken: for the free slot, or ahead of it."""
    return slots.has_room or (me.follows and not slots.ahead)


def _changed(me: Program, rules: Rules) -> Slots:
    """Return the slots with what this program changes of them."""
    slots = me.read._replace(lane=me.read.lane or me.listing)
    if me.give and me.give in slots.holders:
        left = tuple(run for run in slots.holders if run != me.give) if rules.gives_one_run else ()
        slots = slots._replace(holders=left)
    return slots.without(me.unkeep)


def _idle(me: Program) -> Program:
    """Return a program that has done its part; a worker with another claim goes on with that."""
    at, job, run = me.rest or ("done" if me.kind == "sweep" else "start", -1, "")
    return me._replace(at=at, job=job, run=run, rest=None, found=-1, give="", listing=False)


_KINDS = {"work": _work, "sweep": _sweep}
