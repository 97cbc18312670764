"""What is refused of a job class before there is a job of it. Each check raises InvalidJobClass."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from marshmallow import fields

from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.options import check_priority, check_queue_name

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob


def job_type_of(job_class: type[BaseJob]) -> str:
    """The type under which its jobs are stored."""
    job_type: object = job_class.JOB_TYPE
    if not isinstance(job_type, str) or not job_type or len(job_type) > 200 or not job_type.isprintable():
        raise InvalidJobClass(
            f"{job_class.__qualname__} has JOB_TYPE {job_type!r}; every job class that is registered needs a text "
            "of its own, up to 200 printable characters"
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
    timeout: object = job_class.TIMEOUT
    if timeout is not None and (type(timeout) not in (int, float) or not 0 < timeout < 10**9):  # type: ignore[operator]
        raise InvalidJobClass(
            f"{job_class.__qualname__}.TIMEOUT is {timeout!r}; expected seconds, or None for no limit"
        )
    ends: object = job_class.FINISH_ON
    if type(ends) is not tuple or not all(isinstance(e, type) and issubclass(e, BaseException) for e in ends):
        raise InvalidJobClass(f"{job_class.__qualname__}.FINISH_ON is {ends!r}; expected a tuple of exception classes")


def check_place(job_class: type[BaseJob]) -> None:
    """Refuse a queue or a priority that no job can have."""
    try:
        check_queue_name(job_class.QUEUE)
        check_priority(job_class.PRIORITY)
    except InvalidValue as error:
        raise InvalidJobClass(f"{job_class.__qualname__} has a {str(error).partition(' Nothing')[0]}") from None


def check_methods(job_class: type[BaseJob]) -> None:
    """Refuse what would fail only once a worker makes or runs the job."""
    for name in ("Params", "State"):
        if isinstance(job_class.__dict__.get(name.lower()), type):
            raise InvalidJobClass(
                f"{job_class.__qualname__} has a class {name.lower()}, which means nothing; did you mean {name}?"
            )
    run = inspect.getattr_static(job_class, "run", None)
    if inspect.isfunction(run):
        wanted = [name for name, one in [*inspect.signature(run).parameters.items()][1:] if _must_be_given(one)]
        if wanted:
            raise InvalidJobClass(
                f"{job_class.__qualname__}.run takes {', '.join(wanted)}, which nobody would give it; declare "
                "parameters in Params and read them from self"
            )
    init = job_class.__init__
    takes = inspect.signature(init).parameters.values()
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in takes):
        raise InvalidJobClass(
            f"{job_class.__qualname__}.__init__ takes no **kwargs, in which the fields of a stored job come; expected "
            "def __init__(self, *args, **kwargs) that calls super().__init__(*args, **kwargs)"
        )


def _must_be_given(parameter: inspect.Parameter) -> bool:
    is_variable = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return not is_variable and parameter.default is inspect.Parameter.empty


def check_state(job_class: type[BaseJob], declared: dict[str, fields.Field[Any]]) -> None:
    """Refuse state that a new job can't have."""
    for name, field in declared.items():
        if field.required:
            raise InvalidJobClass(
                f"{job_class.__qualname__}.State declares {name} as required, but nobody gives a new job its state; "
                "give it a load_default instead"
            )


def check_storable(where: str, field: fields.Field[Any]) -> None:
    """Refuse fields whose values JSON can't hold, however good they are."""
    if type(field) is fields.Decimal and not field.as_string:
        raise InvalidJobClass(f"{where} as a Decimal that JSON can't hold; expected fields.Decimal(as_string=True)")
    if type(field) is fields.Tuple:
        raise InvalidJobClass(f"{where} as a Tuple, which JSON can't hold; expected fields.List")
    for part in parts(field):
        check_storable(where, part)


def parts(field: fields.Field[Any]) -> list[fields.Field[Any]]:
    """What a field is made of."""
    parts: list[Any] = [getattr(field, name, None) for name in ("inner", "key_field", "value_field")]
    return [part for part in [*parts, *(getattr(field, "tuple_fields", None) or ())] if isinstance(part, fields.Field)]
