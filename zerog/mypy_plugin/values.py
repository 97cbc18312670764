"""The types of values: what a run finds in a field, and what a client may give for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import CallExpr, Expression, FuncDef, RefExpr, TypeAlias, TypeInfo
from mypy.typeops import make_simplified_union
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Type,
    TypeOfAny,
    UnionType,
    get_proper_type,
)
from mypy.typevars import fill_typevars_with_any

FIELD = "marshmallow.fields.Field"

Named = Callable[[str, list[Type]], Instance]
"""Makes an instance of a type by its name and arguments."""

ANY = AnyType(TypeOfAny.explicit)

_AS_THEY_ARE = ("builtins.str", "builtins.int", "builtins.float", "builtins.bool")
_BY_TEXT_OR_NUMBER = (
    "datetime.datetime",
    "datetime.date",
    "datetime.time",
    "datetime.timedelta",
    "decimal.Decimal",
    "enum.Enum",
    "ipaddress._BaseAddress",
    "uuid.UUID",
)
"""Types that JSON has no value for: a client gives one of them, or the text or number that stands for it."""

_PLACES = ("keys", "values", *[""] * 20)
"""The names of the positional arguments of ``fields.Dict``."""


def field_made_by(expression: Expression) -> Instance | None:
    """Return the type of the field that an expression makes or names by its class, or None if it is no field."""
    callee = expression.callee if isinstance(expression, CallExpr) else expression
    node = callee.node if isinstance(callee, RefExpr) else None
    made: Type | None = None
    if isinstance(node, TypeAlias):
        made = node.target
    elif isinstance(node, TypeInfo):
        made = fill_typevars_with_any(node)
    elif isinstance(node, FuncDef) and isinstance(node.type, CallableType):
        made = node.type.ret_type
    instance = get_proper_type(made)
    return instance if isinstance(instance, Instance) and instance.type.has_base(FIELD) else None


def value_of(expression: Expression, named: Named) -> Type:
    """Return the type of the values of the field that an expression makes; Any if that can't be seen."""
    made = field_made_by(expression)
    if made is None:
        return ANY
    given = expression.args if isinstance(expression, CallExpr) else []
    names = expression.arg_names if isinstance(expression, CallExpr) else []
    if made.type.fullname == "marshmallow.fields.List":
        return named("builtins.list", [value_of(given[0], named) if given else ANY])
    if made.type.fullname == "marshmallow.fields.Dict":
        parts = {name or place: part for name, place, part in zip(names, _PLACES, given, strict=False)}
        return named("builtins.dict", [_part(parts, "keys", named), _part(parts, "values", named)])
    if made.type.fullname == "marshmallow.fields.Enum":
        node = given[0].node if given and isinstance(given[0], RefExpr) else None
        return Instance(node, []) if isinstance(node, TypeInfo) else ANY
    [value] = map_instance_to_supertype(made, _field_among(made.type)).args
    return value


def _part(parts: Mapping[str, Expression], name: str, named: Named) -> Type:
    return value_of(parts[name], named) if name in parts else ANY


def _field_among(info: TypeInfo) -> TypeInfo:
    return next(base for base in info.mro if base.fullname == FIELD)


def given_for(value: Type, named: Named) -> Type:
    """Return the type of what a client may give for a value of this type; Any where schemas are free to convert."""
    value = get_proper_type(value)
    if isinstance(value, UnionType):
        return make_simplified_union([given_for(item, named) for item in value.items])
    if isinstance(value, (NoneType, LiteralType)):
        return value
    if not isinstance(value, Instance):
        return ANY
    if value.type.fullname in _AS_THEY_ARE:
        return value
    if value.type.fullname == "builtins.list":
        return named("typing.Sequence", [given_for(value.args[0], named)])
    if value.type.fullname == "builtins.dict":
        return named("typing.Mapping", [value.args[0], given_for(value.args[1], named)])
    if any(value.type.has_base(name) for name in _BY_TEXT_OR_NUMBER):
        return UnionType([value, named("builtins.str", []), named("builtins.float", [])])
    return ANY
