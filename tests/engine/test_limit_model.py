"""The slots of limits by a model: no order of accesses, and no death, lets two jobs run or leaves one parked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.engine.limit_model import ENDED, PARKED, RAN, RUNNING, Job, Program, Rules, Slots, State, rescued, steps

ADA, BOB = Program("work", "a"), Program("work", "b")
MORTAL = Program("work", "a", may_die=True)
EVE = Program("work", "a", follows=True)
MORTAL_EVE = Program("work", "a", may_die=True, follows=True)
SWEEP = Program("sweep", "s")

HALFWAY = State(Slots(("a0", "a1"), lane=True), (Job(RAN, "a0"), Job(RUNNING, "a1"), Job(PARKED)))
BETWEEN = EVE.to("settle", job=0, run="a0", runs=2, rest=("end", 1, "a1"))
"""A state in which one of two runs that share the slot is over, and the worker that has them."""

SHARING: dict[str, tuple[tuple[int | State, tuple[Program, ...]], ...]] = {
    "follows_what_is_listed": ((2, (EVE, BOB)),),
    "follows_what_has_ended": ((2, (EVE, BOB)),),
    "gives_one_run": ((3, (EVE, BOB)),),
    "judges_each_run": ((HALFWAY, (BETWEEN, BOB, SWEEP)),),
}
"""Where mistakes are looked for that need a slot which runs share."""

Node = tuple[State, tuple[Program, ...]]


@dataclass
class Search:
    """All nodes that can be reached."""

    rules: Rules
    known: dict[State, bool] = field(default_factory=dict)
    """By state, whether sweeps repair it."""

    def violation(self, start: int | State, programs: tuple[Program, ...]) -> str:
        """Return the first violation in any order of the programs' steps; empty if there is none.

        ``start``: a state, or how many jobs are submitted.
        """
        first = (State(Slots(), (Job(),) * start) if isinstance(start, int) else start, programs)
        seen, left = {canonical(first)}, [first]
        while left:
            state, programs = left.pop()
            wrong = self.wrong_in(state, programs)
            if wrong:
                return wrong
            for after in self.following(state, programs):
                name = canonical(after)
                if name not in seen:
                    seen.add(name)
                    left.append(after)
        return ""

    def following(self, state: State, programs: tuple[Program, ...]) -> list[Node]:
        """Return what may come next."""
        found: list[Node] = []
        for i, program in enumerate(programs):
            for after, moved in steps(state, program, self.rules):
                found.append((after, (*programs[:i], moved, *programs[i + 1 :])))
            found += ((after, programs) for after in rescued(state, program))
        return found

    def wrong_in(self, state: State, programs: tuple[Program, ...]) -> str:
        """Return what must not be in a state."""
        dead = {run for program in programs for _, run in program.dead}
        running = [job for job in state.jobs if job.status == RUNNING and job.run not in dead]
        if len(running) > 1:
            return f"{running} run at once"
        is_at_rest = all(program.at == "start" and program.kind == "work" for program in programs)
        if is_at_rest and state.slots.has_room and state.find() is not None:
            return f"a job is parked and the slot is free: {state}"
        if not self.recovers(state, programs):
            return f"two sweeps don't repair {state}"
        return ""

    def recovers(self, state: State, programs: tuple[Program, ...]) -> bool:
        """Return True if all jobs end once everything has died, is rescued and swept, and one worker works."""
        for program in programs:
            while after := rescued(state, program.dying()):
                state = after[0]
        state = state._replace(slots=state.slots._replace(version=0))
        if state not in self.known:
            self.known[state] = self._all_end(state)
        return self.known[state]

    def _all_end(self, state: State) -> bool:
        for name in range(2 * len(state.jobs) + 1):
            if all(job.status == ENDED for job in state.jobs):
                return True
            for program in (SWEEP, Program("work", f"w{name}")):
                state = alone(state, program, self.rules)
        return False


def alone(state: State, program: Program, rules: Rules) -> State:
    """Return the state after a program has run without others for as long as it has something to do."""
    for _ in range(200):
        if program.kind == "sweep" and program.at == "done":
            return state
        following = list(steps(state, program, rules))
        if not following:
            return state
        state, program = following[-1]
    return state


def canonical(node: Node) -> Node:
    """Return a node with the versions of slots renamed: they only matter by being the same."""
    state, programs = node
    versions = sorted({state.slots.version, *(program.read.version for program in programs)})
    slots = state.slots._replace(version=versions.index(state.slots.version))
    renamed = tuple(p._replace(read=p.read._replace(version=versions.index(p.read.version))) for p in programs)
    return state._replace(slots=slots), renamed


@pytest.mark.parametrize(
    ("start", "programs"),
    [
        pytest.param(2, (ADA, BOB), id="alive"),
        pytest.param(2, (MORTAL, BOB), id="death"),
        pytest.param(2, (ADA, BOB, SWEEP), id="sweep", marks=pytest.mark.wide),
        pytest.param(3, (ADA, BOB), id="three-jobs"),
        pytest.param(2, (EVE, BOB), id="follower"),
        pytest.param(2, (MORTAL_EVE, BOB), id="follower-and-death"),
        pytest.param(HALFWAY, (BETWEEN, BOB, SWEEP), id="follower-at-a-sweep", marks=pytest.mark.wide),
        pytest.param(3, (EVE, BOB), id="follower-of-three", marks=pytest.mark.wide),
        pytest.param(2, (EVE, BOB, SWEEP), id="follower-and-sweep", marks=pytest.mark.wide),
        pytest.param(2, (MORTAL_EVE, BOB, SWEEP), id="follower-death-and-sweep", marks=pytest.mark.slow),
        pytest.param(2, (MORTAL, BOB, SWEEP), id="death-and-sweep", marks=pytest.mark.slow),
    ],
)
def test_one_job_runs_at_once_and_none_stays_parked(start: int | State, programs: tuple[Program, ...]) -> None:
    assert Search(Rules()).violation(start, programs) == ""


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(mistake, marks=[pytest.mark.wide] if mistake == "reads_slots_first" else [])
        for mistake in Rules._fields
    ],
)
def test_a_seeded_mistake_is_found(mistake: str) -> None:
    rules = Rules()._replace(**{mistake: False})
    tried = SHARING.get(mistake, ((2, (ADA, BOB)), (2, (MORTAL, BOB)), (3, (ADA, BOB, SWEEP))))
    assert any(Search(rules).violation(start, programs) for start, programs in tried)


def test_the_search_meets_parked_jobs() -> None:
    """Otherwise it would show nothing."""
    met = set[str]()
    search = Search(Rules())
    node: Node = (State(Slots(), (Job(), Job())), (ADA, BOB))
    left, seen = [node], {canonical(node)}
    while left:
        state, programs = left.pop()
        met |= {job.status for job in state.jobs}
        for after in search.following(state, programs):
            if canonical(after) not in seen:
                seen.add(canonical(after))
                left.append(after)
    assert PARKED in met
