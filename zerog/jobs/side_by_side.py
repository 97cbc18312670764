"""Several classes of one type, each for versions of its own: for a change that no migration can express."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from zerog.exceptions import DuplicateJobType
from zerog.jobs.declaration import declaration_of

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob


def apart(job_type: str, given: Sequence[type[BaseJob]], registered: Sequence[type[BaseJob]]) -> list[type[BaseJob]]:
    """Return the classes of a type that are to be registered, that of the latest versions first.

    ``registered``: those that are already; classes among them are no news. Raises DuplicateJobType if there are others,
    or if the versions of two overlap.
    """
    if set(given) <= set(registered):
        return list(registered)
    for other in registered[:1]:
        raise DuplicateJobType(_refusal(job_type, other, next(each for each in given if each not in registered)))
    classes = sorted(given, key=lambda each: declaration_of(each).version, reverse=True)
    for later, earlier in pairwise(classes):
        why = _why_not(earlier, later)
        if why is not None:
            one, other = sorted((later, earlier), key=list(given).index)
            raise DuplicateJobType(
                f"{_refusal(job_type, one, other)} Classes for versions of their own may be registered together, {why}."
            )
    return classes


def _why_not(earlier: type[BaseJob], later: type[BaseJob]) -> str | None:
    """Return why two classes can't stand side by side; None if they can."""
    for each in (earlier, later):
        if "SCHEMA_VERSION" not in vars(each):  # more likely a copy that has kept its JOB_TYPE
            return f"if each states its SCHEMA_VERSION, and {each.__qualname__} doesn't"
    if declaration_of(earlier).version >= declaration_of(later).chain.lowest:
        return f"but {_range(earlier)} and {_range(later)} overlap"
    return None


def _refusal(job_type: str, other: type[BaseJob], job_class: type[BaseJob]) -> str:
    return (
        f"the JOB_TYPE {job_type!r} belongs to {_path(other)}; {_path(job_class)} needs a distinct one. "
        f"Nothing was registered; unregister({job_type!r}) lets another one take its place."
    )


def _range(job_class: type[BaseJob]) -> str:
    chain = declaration_of(job_class).chain
    return f"{chain.lowest} to {chain.version} of {job_class.__qualname__}"


def _path(job_class: type) -> str:
    return f"{job_class.__module__}.{job_class.__qualname__}"
