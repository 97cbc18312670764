"""Job types and their classes. A document names a type; only a class that was registered here is run for it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from marshmallow import ValidationError

from zerog.contracts.foreign import as_datastore
from zerog.engine.engine import Unsuitable
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    InvalidJobClass,
    InvalidValue,
    JobNotFound,
    SchemaTooNew,
    UnknownJobType,
)
from zerog.jobs.base import BaseJob
from zerog.jobs.concurrency import is_limited, limits_of
from zerog.jobs.declaration import declaration_of
from zerog.jobs.ending import Follower, ending_of
from zerog.jobs.estimate import Past
from zerog.jobs.load import construct, load_job, read_head
from zerog.jobs.progress import info_of, progress_of
from zerog.jobs.secrets import redacted
from zerog.jobs.side_by_side import apart
from zerog.maintenance.kept import Keep
from zerog.records.fields import ENGINE_FIELDS, HISTORY
from zerog.records.job import CANCELLED_STATUS, FAILED, SUCCEEDED, Document, check_head, make_key
from zerog.records.limits import NO_LIMITS, Limits
from zerog.records.operations import dropped_field
from zerog.support.jsonvalues import short_repr
from zerog.support.suggestions import close_to
from zerog.webhooks.targets import hidden

if TYPE_CHECKING:
    from zerog.jobs.answers import Info, Progress

T = TypeVar("T")


class JobRegistry:
    """The registered job classes of one app, by type."""

    def __init__(self) -> None:
        self._classes: dict[str, type[BaseJob]] = {}
        self._earlier: dict[str, list[type[BaseJob]]] = {}
        """By type, the classes for versions below those of its class in ``_classes``; the latest first."""
        self._limited: dict[str, type[BaseJob]] = {}
        """Those of ``_classes`` that have limits."""

    def add_classes(self, jobClasses: Iterable[type[BaseJob]]) -> None:
        """Register classes; all of them or, if one can't be, none.

        Several classes of one type may come together, if the versions from which and to which each leads are apart from
        the others': then a document's version chooses its class, and new jobs are of the latest. Raises
        InvalidJobClass, and DuplicateJobType for a second class of one type otherwise. The same class twice is no
        error.
        """
        if isinstance(jobClasses, type):
            raise InvalidJobClass(f"add_classes takes a list of classes, not {jobClasses!r}; nothing was registered")
        given: dict[str, dict[type[BaseJob], None]] = {}
        for job_class in jobClasses:
            if not (isinstance(job_class, type) and issubclass(job_class, BaseJob)):
                raise InvalidJobClass(f"{job_class!r} is no subclass of BaseJob; nothing was registered")
            if job_class.__abstractmethods__:
                raise InvalidJobClass(f"{job_class.__qualname__} has no run(); nothing was registered")
            given.setdefault(declaration_of(job_class).job_type, {})[job_class] = None
        added: dict[str, list[type[BaseJob]]] = {}
        for job_type, classes in given.items():
            added[job_type] = apart(job_type, list(classes), self.classes_of(job_type))
        for ending in filter(None, [ending_of(each) for classes in added.values() for each in classes]):
            added.setdefault(ending.JOB_TYPE, [ending])
        for job_type, found in added.items():
            self._classes[job_type], *self._earlier[job_type] = found
            self._limited.pop(job_type, None)
            if is_limited(found[0]):
                self._limited[job_type] = found[0]

    def remove_class(self, job_type: str) -> type[BaseJob]:
        """Remove a type and return its class. Workers of this app put its jobs back. Raises UnknownJobType."""
        job_class = self.get_class(job_type)
        del self._classes[job_type]
        self._earlier.pop(job_type, None)
        self._limited.pop(job_type, None)
        self._classes.pop(declaration_of(job_class).follower or "", None)
        return job_class

    def get_registered_classes(self) -> dict[str, type[BaseJob]]:
        """Return the registered classes by type."""
        return dict(self._classes)

    def progress(self, head: Document, now: datetime, past: Past | None = None) -> Progress:
        """Return the answer to a poller about a job, of a class that is registered here or not.

        ``past``: returns the seconds of earlier runs of a type.
        """
        return progress_of(head, now, self._most_errors(head), past)

    def info(self, document: Document, now: datetime, past: Past | None = None) -> Info:
        """Return ``progress`` with the history."""
        return info_of(document, now, self._most_errors(document), past)

    def _most_errors(self, head: Document) -> int | None:
        job_type = head.get("jobType")
        found = self._classes.get(job_type) if type(job_type) is str else None
        return None if found is None else found.MAX_ERRORS

    def limits_of(self, head: Document) -> Limits:
        """Return the limits of a job by its class, none for a class that isn't registered here."""
        job_type = head.get("jobType")
        found = self._limited.get(job_type) if type(job_type) is str else None
        return NO_LIMITS if found is None else limits_of(found, head)

    def knows_limits(self) -> bool:
        """Return True if a registered class has limits."""
        return bool(self._limited)

    def client_classes(self) -> list[type[BaseJob]]:
        """Return the registered classes whose jobs clients submit, by type: all but followers."""
        return [found for _, found in sorted(self._classes.items()) if not issubclass(found, Follower)]

    def kept(self) -> dict[str, dict[str, Keep]]:
        """Return the time for which ended jobs are kept, by status and type; only of classes that set one."""
        kept: dict[str, dict[str, Keep]] = {}
        for job_type, job_class in [*self._classes.items()]:
            for status, span in (
                (SUCCEEDED, job_class.RETAIN),
                (CANCELLED_STATUS, job_class.RETAIN),
                (FAILED, job_class.RETAIN_FAILED),
            ):
                if span is not None:
                    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
                    declaration = declaration_of(job_class)
                    kept.setdefault(status, {})[job_type] = Keep(seconds, declaration.version, declaration.discards)
        return kept

    def get_class(self, job_type: str | None) -> type[BaseJob]:
        """Return the class of a type. Raises UnknownJobType, naming the known ones."""
        try:
            return self._classes[job_type]  # type: ignore[index]
        except (KeyError, TypeError):
            raise UnknownJobType(self._unknown(job_type)) from None

    def classes_of(self, job_type: str) -> list[type[BaseJob]]:
        """Return all classes of a type, that of the latest versions first; none if the type isn't registered here."""
        latest = self._classes.get(job_type)
        return [] if latest is None else [latest, *self._earlier.get(job_type, ())]

    def class_for(self, head: Document) -> type[BaseJob]:
        """Return the class of a stored document, by its type and version. Raises UnknownJobType."""
        latest, version = self.get_class(head.get("jobType")), head.get("schemaVersion")
        earlier = self._earlier.get(head["jobType"])
        if earlier and not declaration_of(latest).chain.covers(version):
            return next((each for each in earlier if declaration_of(each).chain.covers(version)), latest)
        return latest

    def class_of(self, job_type: object) -> type[BaseJob]:
        """Return the class given as a class, a type or a function. Raises UnknownJobType, ConfigurationError."""
        given = getattr(job_type, "job", None) if inspect.isfunction(job_type) else job_type
        if not isinstance(given, (str, type)):
            raise UnknownJobType(
                f"{job_type!r:.80} is no job; expected a registered class, or its JOB_TYPE as text. Nothing was stored."
            )
        name = getattr(given, "JOB_TYPE", None) if isinstance(given, type) else given
        job_class = self.get_class(name)
        if isinstance(given, type) and given in self.classes_of(str(name)):
            return given
        if isinstance(given, type) and job_class is not given:
            raise ConfigurationError(f"{given!r} isn't registered here; {name!r} belongs to {job_class!r}")
        return job_class

    def expect(self, uuid: str, name: str, job_type: type[BaseJob] | str | None) -> None:
        """Raise JobNotFound unless the job of type ``name`` is one of ``job_type``; None accepts any."""
        if isinstance(job_type, str):
            job_type = self.get_class(job_type)
        self.get_class(name)
        if job_type is not None and not any(issubclass(each, job_type) for each in self.classes_of(name)):
            raise JobNotFound(f"job {uuid} is a {name!r}, not a {job_type.JOB_TYPE or job_type.__qualname__!r}")

    def make_job(
        self,
        data: Mapping[str, Any],
        datastore: Any,
        queue: Any,
        keepalive: Callable[[], object] | None = None,
        jobType: str | None = None,
    ) -> BaseJob:
        """Make a new, unsaved job from a client's parameters; its type is ``jobType`` or ``data["jobType"]``.

        Raises UnknownJobType, and marshmallow's ValidationError with messages by field for parameters that are
        missing, wrong or not the client's to set.
        """
        if not isinstance(data, Mapping):
            raise ValidationError({"_schema": [f"expected an object of parameters, not {type(data).__name__}"]})
        parameters = dict(data)
        if jobType is None or parameters.get("jobType") == jobType:
            jobType = parameters.pop("jobType", None)
        job_class = self.get_class(jobType)
        attributes = declaration_of(job_class).validated(parameters)
        return construct(job_class, (datastore, queue, keepalive), attributes)

    def get_job(self, uuid: str, datastore: Any, queue: Any, keepalive: Callable[[], object] | None = None) -> BaseJob:
        """Return the job object of a stored document.

        Raises InvalidUuid, JobNotFound, UnknownJobType, SchemaTooNew, CorruptDocument; the document stays as it is.
        """
        key = make_key(uuid)
        head, token = as_datastore(datastore).read_with_cas(key, head=True)
        if head is None or token is None:
            raise JobNotFound(f"there is no job {uuid}")
        job_class = self.class_for(head)
        check_head(key, head)
        return load_job(job_class, read_head(job_class, head), token, datastore, queue, keepalive)

    def versions(self) -> tuple[tuple[str, float], ...]:
        """Return every registered job type, with the schema version that new jobs of it have."""
        return tuple((job_type, declaration_of(cls).version) for job_type, cls in sorted(self._classes.items()))

    def load_head(self, head: Document) -> Any:
        """Load a waiting head before it is claimed; the result is for ``load_job``. Raises Unsuitable."""
        if head["jobType"] not in self._classes:
            raise Unsuitable(self._unknown(head["jobType"]))
        job_class = self.class_for(head)
        try:
            return job_class, read_head(job_class, head)
        except (SchemaTooNew, CorruptDocument) as error:
            is_newer = isinstance(error, SchemaTooNew)
            raise Unsuitable(str(error), is_newer, not is_newer) from error
        except (Exception, SystemExit) as error:  # whatever a class's own code raises must not end the worker
            message = f"job {head['uuid']} can't be loaded: {type(error).__name__}: {error}"
            raise Unsuitable(message, is_faulty=True) from error

    def undeclared(self, document: Document) -> list[str]:
        """Return the fields of a stored document that its class doesn't declare, after its migrations.

        None of them if the type isn't registered here, or if the document can't be lifted.
        """
        if document.get("jobType") not in self._classes:
            return []
        declaration = declaration_of(self.class_for(document))
        try:
            return declaration.undeclared(declaration.chain.lift(document))
        except Exception:  # a migration is the class's own code
            return []

    def check_attributes(self, names: Iterable[str], job_type: str | None = None) -> None:
        """Refuse to look for attributes that no registered class has, or not the class of a registered type.

        Without a class, as with a bare URL or for a type of another program, all are accepted. Raises InvalidValue,
        naming the attributes that there are.
        """
        types = [*self._classes] if job_type is None else [job_type]
        there = {each: {a for known in self.classes_of(each) for a in known.ATTRIBUTES} for each in types}
        for name in names if any(map(self.classes_of, types)) else ():
            if not any(name in declared for declared in there.values()):
                where = "no registered class has" if job_type is None else f"the class of type {job_type!r} lacks"
                listed = ", ".join(f"{a} ({each})" for each, declared in there.items() for a in sorted(declared))
                raise InvalidValue(
                    f"{where} the attribute {name!r:.80} in its ATTRIBUTES; there is {listed or 'none'}. "
                    "No jobs were read."
                )

    def attributes_of(self, head: Document) -> dict[str, str] | None:
        """Return the attributes of a stored head by its class, shortened if need be; None if the class isn't there.

        Raises CorruptDocument, SchemaTooNew.
        """
        try:
            declaration = declaration_of(self.get_class(str(head.get("jobType"))))
        except UnknownJobType:
            return None
        return declaration.indexed.of(declaration.chain.lift(head), is_cut=True)

    def shown(self, document: Document, public: Collection[str] = ()) -> Document:
        """Return a stored document with ``[secret]`` in place of secret fields.

        Of a type that isn't registered here the secret fields are unknown, so all of its own fields but those in
        ``public`` are hidden.
        """
        if isinstance(urls := document.get("notify"), list):
            document = {**document, "notify": [*map(hidden, urls)]}
        if str(document.get("jobType")) in self._classes:
            return redacted(document, declaration_of(self.class_for(document)).secrets)
        known = {*ENGINE_FIELDS, *map(dropped_field, HISTORY)}
        return redacted(document, frozenset(document.keys() - known - {*public}))

    def _unknown(self, job_type: object) -> str:
        known = sorted(self._classes)
        close = close_to(job_type, known)
        hint = f"; did you mean {close!r}?" if close else "."
        return (
            f"no class is registered for the job type {short_repr(job_type)}{hint} Known: {', '.join(known) or 'none'}."
        )


def find_subclasses(cls: Callable[..., T]) -> list[type[T]]:
    """Return all subclasses of ``cls``, direct and indirect, each once, in the order of their definition."""
    # Not ``type[T]``: type checkers would refuse BaseJob itself there, because it is abstract.
    found: dict[type[T], None] = {}
    for child in cast("type[T]", cls).__subclasses__():
        found[child] = None
        found.update(dict.fromkeys(find_subclasses(child)))
    return list(found)


def import_submodules(package: str | ModuleType) -> dict[str, ModuleType]:
    """Import every module below a package, so that ``find_subclasses`` sees what they define; by full name.

    ``__main__`` modules are programs and are left out. Whatever an import raises is raised as it is.
    """
    module = importlib.import_module(package) if isinstance(package, str) else package
    modules: dict[str, ModuleType] = {}
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        if not info.name.endswith(".__main__"):
            modules[info.name] = importlib.import_module(info.name)
    return modules


def classes_in(module: ModuleType) -> list[type[BaseJob]]:
    """Return the concrete job classes that a module, or a package with all that is below it, defines itself.

    Those of function jobs are among them, imported and abstract ones are not. Raises InvalidJobClass if there is none.
    """
    found: dict[type[BaseJob], None] = {}
    for part in (module, *import_submodules(module).values()):
        for value in vars(part).values():
            job_class = getattr(value, "job", None) if inspect.isfunction(value) else value
            if isinstance(job_class, type) and issubclass(job_class, BaseJob) and job_class.__module__ == part.__name__:
                found[job_class] = None
    concrete = [job_class for job_class in found if not inspect.isabstract(job_class)]
    if not concrete:
        raise InvalidJobClass(f"{module.__name__} defines no job class; nothing was registered")
    return concrete
