"""Checks of a job class before there is a job of it. Each raises InvalidJobClass."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from marshmallow import fields

from zerog import backoff
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.size_limit import SMALLEST
from zerog.jobs.submit_options import check_priority
from zerog.support import jsonvalues
from zerog.support.callables import signature_error
from zerog.support.checks import LONGEST_DELAY, check_queue_name
from zerog.support.jsonvalues import JOB_BYTES
from zerog.webhooks.targets import target_of

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob


REQUEUE, STOP, WAIT = SHUTDOWNS = ("requeue", "stop", "finish")
"""The values of ON_SHUTDOWN."""

LONGEST_CANCEL_GRACE = 60
"""Seconds; reconcile ends a cancelled job whose owner didn't, and must not be earlier than an owner may be."""


def job_type_of(job_class: type[BaseJob]) -> str:
    """Return the type under which its jobs are stored."""
    job_type: object = job_class.JOB_TYPE
    if not isinstance(job_type, str) or not job_type or len(job_type) > 200 or not job_type.isprintable():
        raise InvalidJobClass(
            f"{job_class.__qualname__} has JOB_TYPE {job_type!r}; every registered job class needs a distinct "
            "text, up to 200 printable characters"
        )
    return job_type


def check_limits(job_class: type[BaseJob]) -> None:
    """Refuse limits that would fail only once a job is in trouble."""
    for name in ("MAX_ERRORS", "MAX_CONTINUES", "MAX_CRASHES", "MAX_LOST"):
        limit: object = getattr(job_class, name)
        if limit is None and name == "MAX_CONTINUES":
            continue
        if type(limit) is not int or limit < 0:
            raise InvalidJobClass(f"{job_class.__qualname__}.{name} is {limit!r}; expected a whole number, 0 or more")
    check_times(job_class)
    check_notify(job_class)
    check_backoff(job_class)
    kept: object = job_class.MAX_EVENTS
    if kept is not None and (type(kept) is not int or kept < 1):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.MAX_EVENTS is {kept!r}; expected a whole number, 1 or more, or None for what "
            "the datastore keeps"
        )
    largest: object = job_class.MAX_DOCUMENT
    if largest is not None and (type(largest) is not int or not SMALLEST <= largest <= JOB_BYTES):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.MAX_DOCUMENT is {largest!r:.80}; expected bytes, from {SMALLEST:,} up to "
            f"{JOB_BYTES:,}, or None for the latter"
        )
    most: object = job_class.MAX_ITEMS
    if most is not None and (type(most) is not int or most < 1):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.MAX_ITEMS is {most!r:.80}; expected a whole number, 1 or more, or None for no "
            "limit"
        )
    for name in ("RETAIN", "RETAIN_FAILED"):
        span: object = getattr(job_class, name)
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        if seconds is not None and (type(seconds) not in (int, float) or not 0 < seconds < LONGEST_DELAY):  # type: ignore[operator]
            raise InvalidJobClass(
                f"{job_class.__qualname__}.{name} is {span!r:.80}; expected a timedelta or seconds, more than 0 and up "
                "to 30 years, or None to keep jobs for ever"
            )
    ends: object = job_class.FINISH_ON
    if type(ends) is not tuple or not all(isinstance(e, type) and issubclass(e, BaseException) for e in ends):
        raise InvalidJobClass(f"{job_class.__qualname__}.FINISH_ON is {ends!r}; expected a tuple of exception classes")


def check_notify(job_class: type[BaseJob]) -> None:
    """Refuse a NOTIFY that holds no URLs. Which hosts an app allows is checked at the submit."""
    given: object = job_class.NOTIFY
    try:
        if not isinstance(given, (list, tuple)):
            raise InvalidValue(f"it is of type {type(given).__name__}; expected a list of URLs")
        for url in given:
            target_of(url)
    except InvalidValue as error:
        raise InvalidJobClass(f"{job_class.__qualname__}.NOTIFY: {error}") from None


def check_times(job_class: type[BaseJob]) -> None:
    """Refuse times that are none, and a soft limit that the hard one would always precede."""
    name = job_class.__qualname__
    soft, hard = job_class.SOFT_TIMEOUT, job_class.TIMEOUT
    for limit, seconds in (("SOFT_TIMEOUT", soft), ("TIMEOUT", hard)):
        if seconds is not None and not (_is_seconds(seconds) and seconds > 0):
            raise InvalidJobClass(f"{name}.{limit} is {seconds!r}; expected seconds, more than 0, or None for no limit")
    silent = job_class.STALLED_AFTER
    if silent is not None and not (_is_seconds(silent) and silent > 0):
        raise InvalidJobClass(
            f"{name}.STALLED_AFTER is {silent!r}; expected seconds, more than 0, or None to show no job as stalled"
        )
    if soft is not None and hard is not None and soft >= hard:
        raise InvalidJobClass(
            f"{name}.SOFT_TIMEOUT is {soft!r} and its TIMEOUT {hard!r}; expected a soft limit below the hard one, or "
            "the run would be ended before it is notified"
        )

    if not _is_seconds(job_class.CANCEL_GRACE) or job_class.CANCEL_GRACE > LONGEST_CANCEL_GRACE:
        raise InvalidJobClass(
            f"{name}.CANCEL_GRACE is {job_class.CANCEL_GRACE!r}; expected seconds from 0 to {LONGEST_CANCEL_GRACE}"
        )
    if job_class.ON_SHUTDOWN not in SHUTDOWNS:
        raise InvalidJobClass(
            f"{name}.ON_SHUTDOWN is {job_class.ON_SHUTDOWN!r}; expected one of {', '.join(SHUTDOWNS)}"
        )


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < LONGEST_DELAY  # type: ignore[operator]


def check_backoff(job_class: type[BaseJob]) -> None:
    """Refuse a BACKOFF that could never be called."""
    given: object = job_class.BACKOFF
    expected = (
        "expected one of zerog.backoff, such as zerog.backoff.exponential(30), or a plain function "
        "(error_count) -> seconds or (error_count, error) -> seconds"
    )
    if not callable(given) or isinstance(given, type) or inspect.iscoroutinefunction(given):
        raise InvalidJobClass(f"{job_class.__qualname__}.BACKOFF is {jsonvalues.short_repr(given)}; {expected}")
    for name in ("none", "constant", "linear", "exponential"):
        if given is getattr(backoff, name):
            raise InvalidJobClass(
                f"{job_class.__qualname__}.BACKOFF is zerog.backoff.{name} itself; expected what it returns, such as "
                "zerog.backoff.exponential(30)"
            )
    why = signature_error(given, 1, None)
    if why and signature_error(given, 1):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.BACKOFF can't be called with one or two arguments ({why}); {expected}"
        )


def check_place(job_class: type[BaseJob]) -> None:
    """Refuse a queue or a priority that no job can have."""
    try:
        check_queue_name(job_class.QUEUE)
        check_priority(job_class.PRIORITY)
    except InvalidValue as error:
        raise InvalidJobClass(f"{job_class.__qualname__} has a {str(error).partition(' Nothing')[0]}") from None


def check_methods(job_class: type[BaseJob]) -> None:
    """Refuse methods that would fail only once a worker makes or runs the job."""
    for name in ("Params", "State"):
        if isinstance(job_class.__dict__.get(name.lower()), type):
            raise InvalidJobClass(
                f"{job_class.__qualname__} has a class {name.lower()}, which means nothing; did you mean {name}?"
            )
    run = inspect.getattr_static(job_class, "run", None)
    check_yields_nothing(f"{job_class.__qualname__}.run", run)
    if inspect.isfunction(run):
        wanted = [name for name, one in [*inspect.signature(run).parameters.items()][1:] if _must_be_given(one)]
        if wanted:
            raise InvalidJobClass(
                f"{job_class.__qualname__}.run takes {', '.join(wanted)}, which it is never given; declare "
                "parameters in Params and read them from self"
            )
    for name, arguments in (("before_run", ()), ("after_run", ()), ("on_error", (None,))):
        _check_hook(job_class, name, arguments)
    _check_on_discard(job_class)
    init = job_class.__init__
    takes = inspect.signature(init).parameters.values()
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in takes):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.__init__ takes no **kwargs, in which the fields of a stored job come; expected "
            "def __init__(self, *args, **kwargs) that calls super().__init__(*args, **kwargs)"
        )


def check_yields_nothing(where: str, function: object) -> None:
    """Refuse a function that yields: calling it would run nothing of it."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidJobClass(
            f"{where} yields, so calling it would do nothing; expected def or async def that returns. What a job keeps "
            "between its steps is its State"
        )


def _check_hook(job_class: type[BaseJob], name: str, arguments: tuple[None, ...]) -> None:
    hook = getattr(job_class, name)
    where, expected = f"{job_class.__qualname__}.{name}", "error" if arguments else ""
    form = f"expected def {name}({', '.join(filter(None, ['self', expected]))}), or async def"
    if not callable(hook):
        raise InvalidJobClass(f"{where} is {jsonvalues.short_repr(hook)}; {form}")
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        raise InvalidJobClass(
            f"{where} yields, so calling it would do nothing; {form}. What surrounds a run is middleware"
        )
    bound = () if isinstance(inspect.getattr_static(job_class, name), staticmethod | classmethod) else (None,)
    why = signature_error(hook, *bound, *arguments)
    if why:
        raise InvalidJobClass(f"{where} can't be called as it will be ({why}); {form}")


def _check_on_discard(job_class: type[BaseJob]) -> None:
    _check_hook(job_class, "on_discard", ())
    if inspect.iscoroutinefunction(job_class.on_discard):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.on_discard is asynchronous; expected def on_discard(self), since the program "
            "that removes the job calls it, in a thread without an event loop"
        )


def _must_be_given(parameter: inspect.Parameter) -> bool:
    return not _is_variable(parameter) and parameter.default is inspect.Parameter.empty


def _is_variable(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameters_of(job_class: type[BaseJob]) -> dict[str, str]:
    """Return the named parameters of ``update_attrs`` and ``__init__``, which get fields by name, and their owners.

    Only those of ZeroG's own ``__init__`` count: a class may take its own field as a parameter.
    """
    bases = job_class.__mro__
    methods = [base.__dict__.get("update_attrs") for base in bases]
    methods += [base.__dict__.get("__init__") for base in bases if base.__module__ == "zerog.jobs.base"]
    return {
        name: str(method.__qualname__)
        for method in methods
        if inspect.isfunction(method)
        for name, one in inspect.signature(method).parameters.items()
        if not _is_variable(one)
    }


def check_state(job_class: type[BaseJob], declared: dict[str, fields.Field[Any]]) -> None:
    """Refuse state that a new job can't have."""
    for name, field in declared.items():
        if field.required:
            raise InvalidJobClass(
                f"{job_class.__qualname__}.State declares {name} as required, but a new job is given no state; "
                "set a load_default instead"
            )


_NO_KEYS = (fields.Number, fields.Boolean, fields.TimeDelta, fields.List, fields.Tuple, fields.Mapping, fields.Nested)
"""Fields whose values aren't texts in JSON, as its keys are."""


def check_storable(where: str, field: fields.Field[Any]) -> None:
    """Refuse fields whose values JSON can't hold, however good they are, and those that have no value to store."""
    if type(field) is fields.Decimal and not field.as_string:
        raise InvalidJobClass(f"{where} as a Decimal that JSON can't hold; expected fields.Decimal(as_string=True)")
    if type(field) is fields.Tuple:
        raise InvalidJobClass(f"{where} as a Tuple, which JSON can't hold; expected fields.List")
    if isinstance(field, fields.Method):
        raise InvalidJobClass(
            f"{where} as a Method, whose schema a job doesn't have; expected a field of the value's own type"
        )
    for part in parts(field):
        check_storable(where, part)
    _check_names(where, field, frozenset())


def _check_names(where: str, field: fields.Field[Any], seen: frozenset[type]) -> None:
    """Refuse names and keys of a field, and of what is nested in it, that would be read differently."""
    name = field.attribute or field.name or ""
    if "." in name and not field.dump_only:
        raise InvalidJobClass(
            f"{where} as the attribute {name!r}, of whose dots marshmallow makes objects; expected a name without, and "
            "data_key for what a client calls it"
        )
    key = getattr(field, "key_field", None)
    if isinstance(key, _NO_KEYS) and not (isinstance(key, fields.Decimal) and key.as_string):
        raise InvalidJobClass(
            f"{where} as a Dict with keys of type {type(key).__name__}, which JSON can't hold; expected keys that are "
            "texts in JSON, such as fields.String()"
        )
    if isinstance(field, fields.Nested) and type(field.schema) not in seen:
        seen |= {type(field.schema)}
        for inner, part in field.schema.fields.items():
            _check_names(f"{where}, in which {inner} is declared", part, seen)
    for part in parts(field):
        _check_names(where, part, seen)


def parts(field: fields.Field[Any]) -> list[fields.Field[Any]]:
    """Return the fields that a field is made of."""
    parts: list[Any] = [getattr(field, name, None) for name in ("inner", "key_field", "value_field")]
    return [part for part in [*parts, *(getattr(field, "tuple_fields", None) or ())] if isinstance(part, fields.Field)]
