"""The fields of schemas, read while mypy analyses classes.

What is read of a schema is kept with its class in two TypedDicts, which mypy caches as it caches everything else: the
values that a run finds, and the parameters that a client gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mypy.nodes import (
    AssignmentStmt,
    CallExpr,
    ClassDef,
    Decorator,
    Expression,
    FuncDef,
    MemberExpr,
    NameExpr,
    PlaceholderNode,
    RefExpr,
    Statement,
    StrExpr,
    SymbolNode,
    TypeAlias,
    TypeInfo,
    Var,
)
from mypy.plugin import ClassDefContext, SemanticAnalyzerPluginInterface
from mypy.plugins.common import add_attribute_to_class
from mypy.server.trigger import make_wildcard_trigger
from mypy.typeops import make_simplified_union
from mypy.types import Instance, NoneType, Type, TypedDictType, get_proper_type

from zerog.mypy_plugin.values import field_made_by, given_for, value_of

JOB = "zerog.jobs.base.BaseJob"
SCHEMA = "marshmallow.schema.Schema"
_JOB_SCHEMA = "zerog.jobs.schema.BaseJobSchema"

_VALUES, _WHOLE, _GIVEN = "_zerog_values", "_zerog_whole", "_zerog_given"
GROUPS = ("Params", "State", "SCHEMA")


@dataclass(frozen=True)
class _Field:
    attribute: str
    value: Type
    key: str
    given: Type | None
    """None for a field that a client can't give."""
    required: bool


# schemas


def note_fields(context: ClassDefContext) -> None:
    """Keep the fields that a schema class declares itself, and whether it may have others than can be seen."""
    cls, api = context.cls, context.api
    seen = [_declared_by(statement, api) for statement in cls.defs.body if _may_declare(statement)]
    own = [field for field in seen if field is not None]
    fallback = api.named_type("typing._TypedDict")
    _set(cls, _VALUES, TypedDictType({field.attribute: field.value for field in own}, set(), set(), fallback), api)
    cls.info.names.pop(_WHOLE, None)
    cls.info.names.pop(_GIVEN, None)
    if None in seen:
        return
    _set(cls, _WHOLE, NoneType(), api)
    if not _is_free(cls):
        given = {field.key: field.given for field in own if field.given is not None}
        required = {field.key for field in own if field.required}
        _set(cls, _GIVEN, TypedDictType(given, required, set(), fallback), api)


def _set(cls: ClassDef, name: str, kept: Type, api: SemanticAnalyzerPluginInterface) -> None:
    cls.info.names.pop(name, None)
    add_attribute_to_class(api, cls, name, kept)


def _is_free(cls: ClassDef) -> bool:
    """Return True if what a client may give isn't the fields: by its Meta, or a hook that comes before them."""
    for statement in cls.defs.body:
        if isinstance(statement, ClassDef) and statement.name == "Meta":
            return True
        for decorator in statement.original_decorators if isinstance(statement, Decorator) else ():
            name = decorator.callee if isinstance(decorator, CallExpr) else decorator
            if isinstance(name, RefExpr) and name.fullname == "marshmallow.decorators.pre_load":
                return True
    return False


def _may_declare(statement: Statement) -> bool:
    return isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, (RefExpr, CallExpr))


def _declared_by(statement: Statement, api: SemanticAnalyzerPluginInterface) -> _Field | None:
    """Return the field that a statement of the class's body declares, or None if what it declares can't be seen."""
    assert isinstance(statement, AssignmentStmt)
    target, made = statement.lvalues[0], statement.rvalue
    if isinstance(target, NameExpr) and isinstance(made, CallExpr) and field_made_by(made) is not None:
        return _field(target.name, made, api)
    return None


def _field(name: str, made: CallExpr, api: SemanticAnalyzerPluginInterface) -> _Field | None:
    options = {option: value for option, value in zip(made.arg_names, made.args, strict=True) if option is not None}
    is_class = isinstance(made.callee, RefExpr) and isinstance(made.callee.node, (TypeInfo, TypeAlias))
    if not is_class or len(options) + _positional(made) != len(made.args):
        return None  # made by a function, or with ** of something: the rest of its options can't be seen
    key, attribute = _text(options, "data_key", name), _text(options, "attribute", name)
    if key is None or attribute is None:
        return None

    def named(fullname: str, args: list[Type]) -> Instance:
        return api.named_type(fullname, args)

    value = value_of(made, named)
    given = given_for(value, named)
    default = options.get("load_default")
    required = _is_true(options.get("required"))
    if _is_true(options.get("allow_none")) or _is_none(default):
        value, given = _or_none(value), _or_none(given)
    elif not required and default is None:
        value = _or_none(value)
    return _Field(attribute, value, key, None if _is_true(options.get("dump_only")) else given, required)


def _positional(made: CallExpr) -> int:
    return sum(kind.is_positional() for kind in made.arg_kinds)


def _or_none(of: Type) -> Type:
    return make_simplified_union([of, NoneType()])


def _text(options: dict[str, Expression], name: str, default: str) -> str | None:
    given = options.get(name)
    return default if given is None else given.value if isinstance(given, StrExpr) else None


def _is_true(given: Expression | None) -> bool:
    return isinstance(given, NameExpr) and given.fullname == "builtins.True"


def _is_none(given: Expression | None) -> bool:
    return isinstance(given, NameExpr) and given.fullname == "builtins.None"


# jobs


def add_attributes(context: ClassDefContext) -> None:
    """Give a job class an attribute for each field of its schemas that it doesn't annotate itself."""
    cls, api = context.cls, context.api
    if not _note_assigned(cls, api) and not api.final_iteration:
        api.defer()
        return
    annotated = _annotated_by_methods(cls)
    for schema in reversed(schemas_of(cls.info) or ()):
        api.add_plugin_dependency(make_wildcard_trigger(schema.fullname))
        for name, value in _values(schema).items():
            known = cls.info.get(name)
            if (known is None or known.plugin_generated) and name not in annotated:
                _set(cls, name, value, api)


def _note_assigned(cls: ClassDef, api: SemanticAnalyzerPluginInterface) -> bool:
    """Keep the schemas that are assigned by name: ``SCHEMA = CountSchema``. Return False if one isn't known yet."""
    for statement in cls.defs.body:
        if isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, RefExpr):
            node = statement.rvalue.node
            names = [target.name for target in statement.lvalues if isinstance(target, NameExpr)]
            for group in GROUPS:
                if group in names and isinstance(node, PlaceholderNode):
                    return False
                if group in names and isinstance(node, TypeInfo):
                    _set(cls, f"_zerog_{group}", Instance(node, []), api)
    return True


def _annotated_by_methods(cls: ClassDef) -> set[str]:
    """Return the attributes that methods annotate: ``self.path: str = …``."""
    methods = [statement for statement in cls.defs.body if isinstance(statement, FuncDef)]
    return {
        target.name
        for method in methods
        for statement in method.body.body
        if isinstance(statement, AssignmentStmt) and statement.unanalyzed_type is not None
        for target in statement.lvalues
        if isinstance(target, MemberExpr)
    }


def schemas_of(job: TypeInfo, groups: Iterable[str] = GROUPS) -> list[TypeInfo] | None:
    """Return the schema classes of a job class and their bases, or None if one of them can't be seen."""
    found: list[TypeInfo] = []
    for group in groups:
        node = _declared(job, group)
        if isinstance(node, TypeInfo):
            found += _bases(node)
        elif not (isinstance(node, Var) and node.info.fullname == JOB):
            return None
    return found


def _declared(job: TypeInfo, group: str) -> SymbolNode | None:
    for base in job.mro:
        if (assigned := base.names.get(f"_zerog_{group}")) is not None and isinstance(assigned.node, Var):
            kept = get_proper_type(assigned.node.type)
            return kept.type if isinstance(kept, Instance) else None
        if group in base.names:
            return base.names[group].node
    return None


def _bases(schema: TypeInfo) -> Iterator[TypeInfo]:
    """Yield a schema class and its bases but marshmallow's and the engine's own."""
    root = next((base for base in schema.mro if base.fullname in (SCHEMA, _JOB_SCHEMA)), None)
    yield from (base for base in schema.mro if root is None or base not in root.mro)


def _values(schema: TypeInfo) -> dict[str, Type]:
    kept = _kept(schema, _VALUES)
    return {} if kept is None else kept.items


def _kept(schema: TypeInfo, name: str) -> TypedDictType | None:
    symbol = schema.names.get(name)
    kept = get_proper_type(symbol.node.type) if symbol is not None and isinstance(symbol.node, Var) else None
    return kept if isinstance(kept, TypedDictType) else None


def attributes_of(job: TypeInfo) -> set[str] | None:
    """Return the attributes that a job class declares by its schemas, or None if there may be others."""
    schemas = schemas_of(job)
    if schemas is None or any(_WHOLE not in schema.names for schema in schemas):
        return None
    return {name for schema in schemas for name in _values(schema)}


def parameters_of(job: TypeInfo) -> tuple[dict[str, Type], set[str]] | None:
    """Return the types of what a client may give and the names that are required; None if there may be others."""
    types: dict[str, Type] = {}
    required: set[str] = set()
    schemas = schemas_of(job, ("Params", "SCHEMA"))
    for kept in [None] if schemas is None else [_kept(schema, _GIVEN) for schema in reversed(schemas)]:
        if kept is None:
            return None
        types |= kept.items
        required = (required - kept.items.keys()) | kept.required_keys
    return types, required
