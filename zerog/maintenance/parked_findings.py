"""Find jobs that are parked at limits, and name the limit at which one has been parked for the longest time."""

from __future__ import annotations

from collections.abc import Iterator

from zerog.contracts.find import OLDEST, Count, FindQuery
from zerog.engine.engine import Engine
from zerog.exceptions import DatastoreError, DatastoreUnavailable
from zerog.maintenance.findings import Commands, Finding, unlistable
from zerog.records.fields import is_timestamp
from zerog.records.limits import ANY, parked_in, parked_term
from zerog.support.clock import seconds_between, to_text

LONG = 86_400.0
"""Seconds after which a job that is parked needs a person: its limit is too low, or its slots are held by runs that
never end."""

EXAMINED = 1_000
"""Parked jobs that are read, at most: the oldest ones."""


def parked_jobs(engine: Engine, zerog: Commands) -> Iterator[Finding]:
    """Report parked jobs with the one that has been parked for the longest time; more than a day needs a person.

    Raises DatastoreUnavailable.
    """
    if not engine.parks:
        return
    try:
        page = engine.datastore.find(FindQuery(order=OLDEST, attrs=(parked_term(ANY),), limit=EXAMINED))
    except DatastoreUnavailable:
        raise
    except DatastoreError as error:
        yield unlistable("parked jobs", "how long they wait is not known", error, zerog)
        return
    found = [(parked, str(head["uuid"])) for head in page.heads if (parked := parked_in(head)) is not None]
    known = [(parked, uuid) for parked, uuid in found if is_timestamp(parked.at)]
    if not known:
        return
    first = min(known, key=lambda each: each[0].at)[0]
    count = Count(len(page.heads), page.after is not None)
    one = str(count) == "1"
    what = f"{count} job{' is' if one else 's are'} parked, {'' if one else 'the longest '}since {first.at}: "
    what += f"it waits for its limit, {first.limit}"
    mend = "they run in their turn; raise the limit, in the code or by zerog queues set, if that is too late"
    command = zerog("jobs ls", "--parked", first.limit)
    is_long = seconds_between(first.at, to_text(engine.now())) > LONG
    finding = Finding(what, 0, mend, is_long, command=command)
    for parked, uuid in known:
        finding.add(uuid, f"since {parked.at}: {parked.limit}")
    yield finding
