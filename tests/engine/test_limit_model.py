"""The slots of limits by a model: no order of accesses, and no death, lets two jobs run or leaves one parked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.engine.limit_model import ENDED, PARKED, RUNNING, Job, Program, Rules, Slots, State, rescued, steps

ADA, BOB = Program("work", "a"), Program("work", "b")
MORTAL = Program("work", "a", may_die=True)
SWEEP = Program("sweep", "s")

Node = tuple[State, tuple[Program, ...]]


@dataclass
class Search:
    """All nodes that can be reached."""

    rules: Rules
    known: dict[State, bool] = field(default_factory=dict)
    """By state, whether sweeps repair it."""

    def violation(self, jobs: int, programs: tuple[Program, ...]) -> str:
        """Return the first violation in any order of the programs' steps; empty if there is none."""
        first = (State(Slots(), (Job(),) * jobs), programs)
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
            if program.at == "dead" and (after := rescued(state, program)) != state:
                found.append((after, programs))
        return found

    def wrong_in(self, state: State, programs: tuple[Program, ...]) -> str:
        """Return what must not be in a state."""
        dead = {program.run for program in programs if program.at == "dead"}
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
            state = rescued(state, program._replace(at="dead"))
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
    ("jobs", "programs"),
    [
        pytest.param(2, (ADA, BOB), id="alive"),
        pytest.param(2, (MORTAL, BOB), id="death"),
        pytest.param(2, (ADA, BOB, SWEEP), id="sweep", marks=pytest.mark.wide),
        pytest.param(3, (ADA, BOB), id="three-jobs"),
        pytest.param(2, (MORTAL, BOB, SWEEP), id="death-and-sweep", marks=pytest.mark.slow),
    ],
)
def test_one_job_runs_at_once_and_none_stays_parked(jobs: int, programs: tuple[Program, ...]) -> None:
    assert Search(Rules()).violation(jobs, programs) == ""


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(mistake, marks=[pytest.mark.wide] if mistake == "reads_slots_first" else [])
        for mistake in Rules._fields
    ],
)
def test_a_seeded_mistake_is_found(mistake: str) -> None:
    rules = Rules()._replace(**{mistake: False})
    tried = ((2, (ADA, BOB)), (2, (MORTAL, BOB)), (3, (ADA, BOB, SWEEP)))
    assert any(Search(rules).violation(jobs, programs) for jobs, programs in tried)


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
