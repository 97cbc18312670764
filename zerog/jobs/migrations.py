"""Schema versions, and the steps that lift a document from one to the next.

A class declares ``SCHEMA_VERSION = "2.0"`` and has a ``@migration("1.0", "2.0")`` function for each step. Reading lifts
in memory; the next write stores the lifted form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zerog.exceptions import CorruptDocument, InvalidJobClass, SchemaTooNew
from zerog.records.fields import ENGINE_FIELDS
from zerog.records.job import Document, check_layout
from zerog.records.operations import Operation, Remove, Set
from zerog.support import jsonvalues

Lift = Callable[[Document], Document]


class Migration:
    """One step: callable like the function it was made from."""

    def __init__(self, function: Lift, start: float, end: float) -> None:
        self.function = function
        self.start = start
        self.end = end
        self.__doc__ = function.__doc__

    def __call__(self, document: Document) -> Document:
        return self.function(document)

    def __repr__(self) -> str:
        return f"migration {self.start} → {self.end} ({self.function.__qualname__})"


def migration(start: str | float, end: str | float) -> Callable[[Lift], Migration]:
    """Declare, in a job class, the step from one ``SCHEMA_VERSION`` to a later one.

    The function gets a document without its history lists and returns it, changed or new; it is a plain function
    without ``self``, so a ``@staticmethod`` for type checkers. It must not change the engine's fields.
    """
    first, last = parse_version(start), parse_version(end)
    if last <= first:
        raise InvalidJobClass(f"a migration from {start} to {end} leads backwards; expected a later version")
    return lambda function: Migration(function, first, last)


def parse_version(version: object) -> float:
    """Return a version, given as text or number, as a number. Raises InvalidJobClass if a float changes its text."""
    if isinstance(version, (int, float)) and not isinstance(version, bool) and abs(version) < 1e9:
        return float(version)
    if isinstance(version, str):
        try:
            number = float(version)
        except ValueError:
            number = float("nan")
        if version in (repr(number), f"{number:.0f}") and abs(number) < 1e9:
            return number
    raise InvalidJobClass(
        f"the schema version {version!r} can't be stored: versions are compared as numbers, so that 1.10 would be "
        "1.1; expected something like '1.0', '1.1', '2.0'"
    )


def find_migrations(job_class: type) -> list[Migration]:
    """Return the migrations of a class and its bases."""
    names: dict[str, Any] = {}
    for base in reversed(job_class.__mro__):
        names.update(vars(base))
    return [value for value in names.values() if isinstance(value, Migration)]


class Chain:
    """The steps that lead to one class's version. Raises InvalidJobClass if they leave a gap or fork."""

    def __init__(self, job_type: str, version: float, migrations: list[Migration]) -> None:
        self.job_type = job_type
        self.version = version
        self._steps: dict[float, Migration] = {}
        for step in migrations:
            other = self._steps.setdefault(step.start, step)
            if other is not step:
                raise InvalidJobClass(f"{job_type} has two migrations from {step.start}: {other!r} and {step!r}")
        for step in migrations:
            if step.end != version and step.end not in self._steps:
                raise InvalidJobClass(
                    f"{job_type} is at SCHEMA_VERSION {version}, but {step!r} leads to {step.end}, from which "
                    "there is no migration; the class was not registered"
                )

    @property
    def lowest(self) -> float:
        """The earliest version that a document may have to be lifted to this one."""
        return min([self.version, *self._steps])

    def covers(self, version: object) -> bool:
        """Return True for a version from the earliest one to this one."""
        return isinstance(version, (int, float)) and self.lowest <= version <= self.version

    def steps(self) -> list[tuple[float, float]]:
        """Return the steps, each as the version that it starts from and the one that it leads to, in order."""
        return sorted((step.start, step.end) for step in self._steps.values())

    def steps_from(self, version: object) -> list[Migration]:
        """Return the migrations that a document of this version needs, in order; none if there is no way."""
        found: list[Migration] = []
        while isinstance(version, (int, float)) and (step := self._steps.get(version)) is not None:
            found.append(step)
            version = step.end
        return found

    def check(self, head: Document) -> None:
        """Refuse a document that newer code wrote. Raises SchemaTooNew."""
        check_layout(head)
        if head["schemaVersion"] > self.version:
            raise SchemaTooNew(
                f"job {head['uuid']} of type {self.job_type} has schemaVersion {head['schemaVersion']}; "
                f"this code knows up to {self.version} and leaves it as it is"
            )

    def lift(self, head: Document) -> Document:
        """Return the document at this version; ``head`` itself if it has it already.

        Raises SchemaTooNew, and CorruptDocument if no chain leads here or a migration fails.
        """
        self.check(head)
        if head["schemaVersion"] == self.version:
            return head
        lifted: Document = jsonvalues.copy(head)
        while lifted["schemaVersion"] != self.version:
            lifted = self._apply(self._step(lifted), lifted)
        return lifted

    def _step(self, head: Document) -> Migration:
        step = self._steps.get(head["schemaVersion"])
        if step is None:
            raise CorruptDocument(
                f"job {head['uuid']} of type {self.job_type} has schemaVersion {head['schemaVersion']}, from where no "
                f"migration leads to {self.version}; it was left as it is"
            )
        return step

    def _apply(self, step: Migration, document: Document) -> Document:
        engine: Document = jsonvalues.copy({field: document[field] for field in document if field in ENGINE_FIELDS})
        try:
            lifted: object = step(document)
            if not isinstance(lifted, dict):
                raise TypeError(f"it returned {type(lifted).__name__}, expected the document")
            jsonvalues.check(lifted, "document")
            both = (ENGINE_FIELDS & {*engine, *lifted}) - {"schemaVersion"}
            touched = sorted(f for f in both if (f in lifted, lifted.get(f)) != (f in engine, engine.get(f)))
            if touched:
                raise ValueError(f"it changed {', '.join(touched)}, which only the engine may write")
        except (Exception, SystemExit) as error:
            raise CorruptDocument(
                f"{step!r} failed for job {engine.get('uuid')}: {type(error).__name__}: {error}; it was left as it is"
            ) from error
        return {**lifted, "schemaVersion": step.end}


def upgrade_operations(head: Document, lifted: Document) -> list[Operation]:
    """Return the operations by which the next write stores the lifted form."""
    operations: list[Operation] = [
        Set(field, value) for field, value in lifted.items() if field not in head or head[field] != value
    ]
    return operations + [Remove(field) for field in head if field not in lifted]
