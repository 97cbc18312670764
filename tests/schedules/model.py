"""A small model of the tick: two leaders that may die or stand still anywhere, jobs that end, retention. Every state.

A step of a leader is one read or one write of the datastore. What ``zerog.schedules.leader`` does is written down here
a second time, as simply as possible, and with switches for mistakes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

TICKS = 3
SKIP, QUEUE = "skip", "queue"

ANY_UUID = "a job's uuid doesn't follow from the tick"
NO_TOKEN = "the schedule is written whatever it has become"
JOB_FIRST = "the job is created before the tick is decided"
NOTED_ONLY = "a decided tick is not remembered until its job is created"
REMOVED_AT_ONCE = "retention removes a job before a later tick is noted"
UNSEEN = "the overlap rule does not look at the previous job"
MISTAKES = (ANY_UUID, NO_TOKEN, JOB_FIRST, NOTED_ONLY, REMOVED_AT_ONCE, UNSEEN)


class Doc(NamedTuple):
    """The schedule's document."""

    token: int = 0
    noted: int = 0
    waiting: tuple[int, ...] = ()
    last: int = 0
    skipped: frozenset[int] = frozenset()


class Leader(NamedTuple):
    """``at``: what it does next; ``seen``: the document as it was read; ``new``: the one that it is about to write."""

    at: str = "read"
    seen: Doc = Doc()
    new: Doc = Doc()


class World(NamedTuple):
    now: int = 0
    doc: Doc = Doc()
    jobs: tuple[str, ...] = ("",) * TICKS
    """Of each tick: no job yet, ``active``, ``ended``, ``gone``."""
    created: tuple[int, ...] = (0,) * TICKS
    leaders: tuple[Leader, ...] = (Leader(), Leader())


def is_active(world: World, tick: int) -> bool:
    return tick > 0 and world.jobs[tick - 1] == "active"


def decided(doc: Doc, now: int, overlap: str, busy: bool) -> Doc:
    """The document with all due ticks decided."""
    for tick in range(doc.noted + 1, now + 1):
        if overlap == QUEUE or not (busy or doc.waiting):
            doc = doc._replace(noted=tick, waiting=(*doc.waiting, tick))
        else:
            doc = doc._replace(noted=tick, skipped=doc.skipped | {tick})
    return doc


def step(world: World, number: int, overlap: str, mistake: str) -> World | None:
    """What becomes of the world by the next step of a leader; None if it has nothing to do."""
    at, seen, new = world.leaders[number]
    doc = world.doc

    def goes_on(leader: Leader, **changes: object) -> World:
        leaders = tuple(leader if index == number else other for index, other in enumerate(world.leaders))
        return world._replace(leaders=leaders, **changes)  # type: ignore[arg-type]

    if at == "read":
        if not doc.waiting and doc.noted >= world.now:
            return None
        return goes_on(Leader("look", doc))
    if at == "look":
        busy = is_active(world, seen.last) and mistake != UNSEEN
        if mistake == JOB_FIRST and not seen.waiting and seen.noted < world.now and not busy:
            return goes_on(Leader("create", seen._replace(waiting=(seen.noted + 1,))))
        if seen.waiting and not busy:
            return goes_on(Leader("create", seen))
        if seen.noted < world.now:
            found = decided(seen, world.now, overlap, busy)
            if mistake == NOTED_ONLY:
                found = found._replace(waiting=())
            return goes_on(Leader("decide", seen, found))
        return goes_on(Leader())
    if at == "create":
        tick = seen.waiting[0]
        noted = max(seen.noted, tick)
        done = seen._replace(waiting=seen.waiting[1:], last=max(seen.last, tick), noted=noted)
        if world.jobs[tick - 1] in ("active", "ended") and mistake != ANY_UUID:
            return goes_on(Leader("note", seen, done))
        jobs = tuple("active" if index == tick - 1 else job for index, job in enumerate(world.jobs))
        created = tuple(count + (index == tick - 1) for index, count in enumerate(world.created))
        return goes_on(Leader("note", seen, done), jobs=jobs, created=created)
    if doc.token != seen.token and mistake != NO_TOKEN:
        return goes_on(Leader())
    stored = new._replace(token=doc.token + 1)
    following = stored
    if mistake == NOTED_ONLY and at == "decide":
        following = stored._replace(waiting=decided(seen, stored.noted, overlap, False).waiting)
    return goes_on(Leader("look", following), doc=stored)


def steps(world: World, overlap: str, mistake: str) -> Iterator[World]:
    """Every world that may come next."""
    if world.now < TICKS:
        yield world._replace(now=world.now + 1)
    for tick, job in enumerate(world.jobs, 1):
        changed = "ended" if job == "active" else "gone" if job == "ended" and may_go(world, tick, mistake) else None
        if changed:
            yield world._replace(jobs=tuple(changed if t == tick else j for t, j in enumerate(world.jobs, 1)))
    for number, leader in enumerate(world.leaders):
        after = step(world, number, overlap, mistake)
        if after is not None:
            yield after
        if leader.at != "read":  # it dies, and another process takes its place
            yield world._replace(leaders=tuple(Leader() if n == number else o for n, o in enumerate(world.leaders)))


def may_go(world: World, tick: int, mistake: str) -> bool:
    """Whether retention removes the ended job of a tick: not while a leader stands still that may create it again."""
    if mistake == REMOVED_AT_ONCE:
        return True
    still = any(leader.at in ("look", "create") and tick in leader.seen.waiting for leader in world.leaders)
    return world.doc.last > tick and not still


def wrong(world: World) -> str | None:
    """What must never be."""
    if any(count > 1 for count in world.created):
        return "a tick got two jobs"
    if world.jobs.count("active") > 1:
        return "two jobs are active at once"
    if any(world.created[tick - 1] for tick in world.doc.skipped):
        return "a skipped tick got a job"
    return None


def unfinished(world: World, overlap: str, mistake: str) -> str | None:
    """What is still wrong after one leader has worked alone while jobs end."""
    world = world._replace(leaders=(Leader(), Leader()), now=TICKS)
    for _ in range(20 * TICKS):
        world = world._replace(jobs=tuple("ended" if job == "active" else job for job in world.jobs))
        after = step(world, 0, overlap, mistake)
        if after is None:
            break
        world = after
    done = {tick for tick in range(1, TICKS + 1) if world.created[tick - 1]} | world.doc.skipped
    return None if done == set(range(1, TICKS + 1)) else "a tick has neither a job nor was skipped"


def explore(overlap: str, mistake: str = "") -> tuple[int, str | None]:
    """Visit every world; return how many there are, and the first thing that is wrong."""
    start = World()
    seen, left = {start}, deque([start])
    while left:
        world = left.popleft()
        fault = wrong(world) or unfinished(world, overlap, mistake)
        if fault:
            return len(seen), fault
        for after in steps(world, overlap, mistake):
            if after not in seen:
                seen.add(after)
                left.append(after)
    return len(seen), None
