"""The lock of unique jobs by a model: no order of accesses, and no death, makes two jobs of one key run."""

from __future__ import annotations

import pytest

from tests.engine.unique_model import DOUBLE, ENDED, FIRST, RUNNING, Lock, Program, Rules, State, steps

Node = tuple[State, tuple[Program, ...], tuple[frozenset[str], ...]]
"""The store, the programs, and for each submit the jobs that were live at some time during it."""

AFTER_AN_END = State(Lock(FIRST, True, 1), ((FIRST, ENDED),))
EMPTY = State(None, ())
AFTER_A_DEATH = State(Lock("X", False, 1), ())
"""A submit has died between lock and job."""

ADA, BOB = Program("submit", "A"), Program("submit", "B")
WORKERS = (Program("work", "w"), Program("work", "v"))
RETRY, DISCARD = Program("retry", "R", job=FIRST), Program("discard", "D", job=FIRST)


def violation(start: State, programs: tuple[Program, ...], rules: Rules) -> str:
    """Return the first violation in any order of the programs' steps; empty if there is none."""
    first = (start, programs, tuple(start.live for _ in programs))
    seen, left = {canonical(first)}, [first]
    while left:
        state, programs, lives = left.pop()
        wrong = wrong_in(state, programs, lives)
        if wrong:
            return wrong
        for i, program in enumerate(programs):
            for after, moved in steps(state, program, rules):
                during = zip(lives, programs, strict=True)
                seen_live = tuple(live | after.live if each.at != "done" else live for live, each in during)
                node = (after, (*programs[:i], moved, *programs[i + 1 :]), seen_live)
                name = canonical(node)
                if name not in seen:
                    seen.add(name)
                    left.append(node)
    return ""


def canonical(node: Node) -> Node:
    """Return a node with the versions of locks renamed: they only matter by being the same."""
    state, programs, lives = node
    versions = sorted({lock.version for lock in (state.lock, *(p.lock for p in programs)) if lock is not None})

    def renamed(lock: Lock | None) -> Lock | None:
        return None if lock is None else lock._replace(version=versions.index(lock.version))

    state = state._replace(lock=renamed(state.lock), writes=0)
    return state, tuple(program._replace(lock=renamed(program.lock)) for program in programs), lives


def wrong_in(state: State, programs: tuple[Program, ...], lives: tuple[frozenset[str], ...]) -> str:
    """Return what must not be in a state."""
    running = [job for job, status in state.jobs if status == RUNNING]
    if len(running) > 1:
        return f"{running} run at once"
    for program, live in zip(programs, lives, strict=True):
        if program.kind == "submit" and program.at == "done":
            if program.job not in live:
                return f"{program.name} got {program.job}, which had ended before"
            if state.status(program.job) == DOUBLE:
                return f"{program.name} got {program.job}, which is ended as another one's double"
    return ""


@pytest.mark.parametrize(
    ("start", "programs"),
    [
        pytest.param(EMPTY, (ADA, BOB, *WORKERS), id="first"),
        pytest.param(AFTER_AN_END, (ADA, BOB, *WORKERS), id="after-an-end"),
        pytest.param(AFTER_A_DEATH, (ADA, BOB, *WORKERS), id="after-a-death"),
        pytest.param(AFTER_AN_END, (ADA, DISCARD, *WORKERS), id="discard"),
        pytest.param(AFTER_AN_END, (ADA, RETRY, *WORKERS), id="retry", marks=pytest.mark.wide),
        pytest.param(AFTER_AN_END, (ADA, RETRY, DISCARD, WORKERS[0]), id="retry-and-discard", marks=pytest.mark.wide),
    ],
)
def test_one_job_of_a_key_runs_and_everybody_gets_it(start: State, programs: tuple[Program, ...]) -> None:
    assert violation(start, programs, Rules()) == ""


@pytest.mark.parametrize(
    ("mistake", "programs"),
    [
        *(
            pytest.param(mistake, (ADA, RETRY, *WORKERS), id=mistake)
            for mistake in Rules._fields
            if mistake != "join_looks_again"
        ),
        pytest.param(
            "join_looks_again",
            (ADA, BOB, RETRY, WORKERS[0]),
            id="join_looks_again",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_seeded_mistake_is_found(mistake: str, programs: tuple[Program, ...]) -> None:
    assert violation(AFTER_AN_END, programs, Rules()._replace(**{mistake: False})) != ""
