"""Jobs that are functions: a class made of a signature, and marshmallow fields made of its annotations.

The first parameter is the job object; the further ones become the ``Params`` of the class, by their annotations.
"""

from __future__ import annotations

import copy
import enum
import inspect
import types
import typing
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, ParamSpec, Protocol, TypeVar, Union
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, missing, validate

from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.base import BaseJob
from zerog.jobs.checks import check_yields_nothing
from zerog.jobs.declaration import declaration_of
from zerog.jobs.known import WholeNumber
from zerog.support import jsonvalues

SUPPORTED = (
    "str, int, float, bool, datetime, date, time, timedelta, UUID, Decimal, an Enum of texts or of whole numbers, "
    "Literal, list[T], dict[str, T], T | None, Any, or Annotated[T, a marshmallow field or validator]"
)


class Unsupported(Exception):
    """An annotation without a corresponding field."""


_FIELDS: dict[Any, Callable[[], fields.Field[Any]]] = {
    str: fields.String,
    int: WholeNumber,
    float: fields.Float,
    bool: fields.Boolean,
    datetime: lambda: fields.AwareDateTime(default_timezone=UTC),
    date: fields.Date,
    time: fields.Time,
    timedelta: fields.TimeDelta,
    UUID: fields.UUID,
    Decimal: lambda: fields.Decimal(as_string=True),
    Any: lambda: fields.Raw(allow_none=True),
    list: lambda: fields.List(fields.Raw(allow_none=True)),
    dict: lambda: fields.Dict(keys=fields.String()),
}


def field_of(annotation: Any) -> fields.Field[Any]:
    """Return a new field for values of this type. Raises Unsupported, naming what is expected."""
    try:
        if annotation in _FIELDS:
            return _FIELDS[annotation]()
    except TypeError:  # not hashable: an instance of something, or Annotated with a list
        pass
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return _optional(annotation, arguments)
    if origin is Literal:
        return _literal(annotation, arguments)
    if origin is list:
        return fields.List(field_of(arguments[0]))
    if origin is dict and arguments[0] is str:
        return fields.Dict(keys=fields.String(), values=field_of(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    raise _unsupported(annotation)


def _annotated(annotation: Any, extras: tuple[Any, ...]) -> fields.Field[Any]:
    """Return the given field, or that of the type, with the given validators; any other annotation is ignored."""
    made = [extra() if _is_field_class(extra) else extra for extra in extras]
    given = [extra for extra in made if isinstance(extra, fields.Field)]
    if len(given) > 1:
        raise Unsupported(f"is annotated with {len(given)} fields; expected one")
    field = copy.deepcopy(given[0]) if given else field_of(annotation)
    field.validators = [*field.validators, *(extra for extra in made if callable(extra))]
    return field


def _is_field_class(extra: Any) -> bool:
    return isinstance(extra, type) and issubclass(extra, fields.Field)


def _optional(annotation: Any, arguments: tuple[Any, ...]) -> fields.Field[Any]:
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) != 1 or len(arguments) != 2:
        raise _unsupported(annotation)
    field = field_of(others[0])
    field.allow_none = True
    return field


def _literal(annotation: Any, choices: tuple[Any, ...]) -> fields.Field[Any]:
    stated = [choice for choice in choices if choice is not None]
    kinds = {type(choice) for choice in stated}
    if kinds not in ({str}, {int}):
        raise _unsupported(annotation)
    field = field_of(kinds.pop())
    field.validators = [validate.OneOf(stated)]
    field.allow_none = None in choices
    return field


def _enum(annotation: type[enum.Enum]) -> fields.Field[Any]:
    """Return a field that converts an enum by value, as clients send it and documents show it."""
    for kind in (str, int):
        if all(isinstance(member.value, kind) and not isinstance(member.value, bool) for member in annotation):
            return fields.Enum(annotation, by_value=field_of(kind))
    raise _unsupported(annotation)


def _unsupported(annotation: Any) -> Unsupported:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return Unsupported(f"is annotated {shown!r:.100}; expected {SUPPORTED}")


P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class FunctionJob(Protocol[P, R]):
    """A function that is a job, too."""

    job: type[BaseJob]
    """The job class that was made of the function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, without a worker."""


def job_class_of(function: Callable[..., Any], job_type: str | None, base: Callable[..., BaseJob]) -> type[BaseJob]:
    """Return the job class of a function; its type is the function's name unless another is given.

    Raises InvalidJobClass, naming the function, the parameter and what is expected.
    """
    if not inspect.isfunction(function):
        raise InvalidJobClass(f"{function!r} is no function; a job is made of a def or an async def")
    if not (isinstance(base, type) and issubclass(base, BaseJob)):
        raise InvalidJobClass(f"{function.__qualname__}: base={base!r}; expected a subclass of BaseJob")
    check_yields_nothing(function.__qualname__, function)
    parameters = _parameters(function)
    rest = next((one.name for one in inspect.signature(function).parameters.values() if _takes_rest(one)), None)
    names = tuple(name for name in parameters if name != rest)
    attributes = {
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "JOB_TYPE": function.__name__ if job_type is None else job_type,
        "Params": type("Params", (base.Params or Schema,), parameters),
        "_REST": rest,
        "run": _run_of(function, names, rest),
    }
    made = type(function.__name__, (base,), attributes)
    declaration_of(made)
    return made


def _run_of(function: Callable[..., Any], names: tuple[str, ...], rest: str | None) -> Callable[[Any], Any]:
    def arguments(self: BaseJob) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in names}
        return given if rest is None else {**given, **getattr(self, rest)}

    if inspect.iscoroutinefunction(function):

        async def run_async(self: BaseJob) -> Any:
            return await function(self, **arguments(self))

        return run_async

    def run(self: BaseJob) -> Any:
        return function(self, **arguments(self))

    return run


def _parameters(function: Callable[..., Any]) -> dict[str, fields.Field[Any]]:
    given = list(inspect.signature(function).parameters.values())
    name = function.__qualname__
    if not given or given[0].kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
        raise InvalidJobClass(
            f"{name} takes no job; expected def {function.__name__}(job, …), with parameters after it"
        )
    hints = _hints(function, [parameter.name for parameter in given[1:]])
    return {
        parameter.name: _rest_of(name, parameter, hints, given[0])
        if _takes_rest(parameter)
        else _field(name, parameter, hints)
        for parameter in given[1:]
    }


def _takes_rest(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.VAR_KEYWORD


def _rest_of(
    function: str, parameter: inspect.Parameter, hints: dict[str, Any], job: inspect.Parameter
) -> fields.Field[Any]:
    """Return the field of ``**kwargs``: a client's other parameters by name, of the annotated type, or any JSON."""

    def check(name: str) -> None:
        if name == job.name and job.kind is not inspect.Parameter.POSITIONAL_ONLY:
            raise ValidationError("Is the function's name for the job itself; no client can give it.")

    try:
        values = field_of(hints.get(parameter.name, Any))
    except Unsupported as error:
        raise InvalidJobClass(f"{function}: the parameter **{parameter.name} {error}") from None
    return fields.Dict(keys=fields.String(validate=check), values=values, load_default=dict)


def _hints(function: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    """Return the annotations of these parameters alone: any other may name what only a type checker imports."""
    written = inspect.unwrap(function)
    annotations = {name: written.__annotations__[name] for name in names if name in written.__annotations__}
    only = types.SimpleNamespace(__annotations__=annotations)
    try:
        return typing.get_type_hints(only, getattr(written, "__globals__", {}), include_extras=True)
    except Exception as error:  # annotations are code
        raise InvalidJobClass(
            f"{function.__qualname__}: an annotation of {', '.join(annotations)} can't be resolved "
            f"({type(error).__name__}: {error}); expected names that its module has when it runs"
        ) from error


def _field(function: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> fields.Field[Any]:
    where = f"{function}: the parameter {parameter.name}"
    if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise InvalidJobClass(
            f"{where} is {parameter.kind.description}; expected parameters that a client can name, such as path: str"
        )
    if parameter.name not in hints:
        raise InvalidJobClass(f"{where} has no annotation; expected its type, such as {parameter.name}: str")
    try:
        field = field_of(hints[parameter.name])
    except Unsupported as error:
        raise InvalidJobClass(f"{where} {error}") from None
    if parameter.default is inspect.Parameter.empty:
        field.required = field.load_default is missing
    else:
        _set_default(where, field, parameter.default)
    return field


def _set_default(where: str, field: fields.Field[Any], default: Any) -> None:
    """Set a field's default, which must be read from the document as the same value. Raises InvalidJobClass."""
    try:
        dumped = _through_json(field, default)
    except (InvalidValue, ValidationError, ValueError, TypeError, AttributeError) as error:
        raise InvalidJobClass(
            f"{where} has the default {jsonvalues.short_repr(default)}; expected a value of its own type that JSON can "
            f"hold ({error})"
        ) from None
    field.required = False
    field.load_default = default
    if isinstance(default, (list, dict)):
        field.load_default = lambda: copy.deepcopy(default)
        field.metadata = {**field.metadata, "default": dumped}


def _through_json(field: fields.Field[Any], default: Any) -> Any:
    """Return the JSON of a default, if that is read as an equal value of the same type."""
    if default is None:
        if not field.allow_none:
            raise ValueError("None needs an annotation such as str | None")
        return None
    dumped = field.serialize("default", {"default": default})
    jsonvalues.check(dumped, "it")
    loaded = field._deserialize(dumped, "default", {})  # validators are for what a client gives
    is_same_kind = type(loaded) is type(default) or (type(loaded), type(default)) == (float, int)  # rate: float = 1
    if loaded != default or not is_same_kind:
        raise ValueError(f"it would come back as {jsonvalues.short_repr(loaded)}")
    return dumped
