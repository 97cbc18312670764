"""The signatures of calls that name a job class: ``submit``, ``submit_many`` and ``update_attrs``."""

from __future__ import annotations

from mypy.nodes import (
    ARG_NAMED_OPT,
    ARG_POS,
    ARG_STAR,
    ARG_STAR2,
    Block,
    CallExpr,
    ClassDef,
    ConditionalExpr,
    DictExpr,
    Expression,
    GeneratorExpr,
    ListComprehension,
    ListExpr,
    MemberExpr,
    NameExpr,
    StrExpr,
    SymbolTable,
    TupleExpr,
    TypeInfo,
    Var,
)
from mypy.plugin import CheckerPluginInterface, MethodContext, MethodSigContext
from mypy.types import (
    CallableType,
    Instance,
    Parameters,
    Type,
    TypedDictType,
    TypeType,
    get_proper_type,
)

from zerog.mypy_plugin.schemas import JOB, attributes_of, parameters_of, schemas_of
from zerog.mypy_plugin.values import ANY, given_for
from zerog.records.fields import DOCUMENTED, HISTORY, PROTECTED

_APP = "zerog.app.App"
FUNCTION = "zerog.jobs.function.FunctionJob"
_SETTABLE = DOCUMENTED - PROTECTED - set(HISTORY)
"""Fields of the engine that ``update_attrs`` sets."""


def with_parameters(context: MethodSigContext) -> CallableType:
    """Return the signature of ``submit`` with the parameters of the class or function that the call names."""
    parameters = _parameters_named_by(context)
    if parameters is None:
        return context.default_signature
    given = _argument(context, "params")
    if given is not None and not _is_checked(given, context.api):
        return context.default_signature
    return _replaced(context.default_signature, parameters, is_required=bool(parameters.required_keys))


def with_list_of_parameters(context: MethodSigContext) -> CallableType:
    """Return the signature of ``submit_many`` likewise."""
    parameters = _parameters_named_by(context)
    given = _argument(context, "params")
    if parameters is None or given is None or not _are_checked(given, context.api):
        return context.default_signature
    listed = context.api.named_generic_type("typing.Iterable", [parameters])
    return _replaced(context.default_signature, listed, is_required=True)


def _replaced(signature: CallableType, parameters: Type, is_required: bool) -> CallableType:
    index = signature.arg_names.index("params")
    types, kinds = list(signature.arg_types), list(signature.arg_kinds)
    types[index] = parameters
    if is_required:
        kinds[index] = ARG_POS
    return signature.copy_modified(arg_types=types, arg_kinds=kinds)


def _argument(context: MethodSigContext, name: str) -> Expression | None:
    given = context.args[context.default_signature.arg_names.index(name)]
    return given[0] if given else None


def _is_checked(given: Expression, api: CheckerPluginInterface) -> bool:
    """Return True for parameters that are written in the call. What a variable holds is seen when the job is made."""
    if isinstance(given, ConditionalExpr):
        return _is_checked(given.if_expr, api) and _is_checked(given.else_expr, api)
    if isinstance(given, DictExpr):
        return all(isinstance(key, StrExpr) for key, _ in given.items)
    return isinstance(get_proper_type(api.get_expression_type(given)), TypedDictType)


def _are_checked(given: Expression, api: CheckerPluginInterface) -> bool:
    if isinstance(given, (ListExpr, TupleExpr)):
        return all(_is_checked(item, api) for item in given.items)
    if isinstance(given, ListComprehension):
        given = given.generator
    return (
        isinstance(given, GeneratorExpr) and isinstance(given.left_expr, DictExpr) and _is_checked(given.left_expr, api)
    )


def _parameters_named_by(context: MethodSigContext) -> TypedDictType | None:
    """Return the parameters of what the call submits, or None if they can't be seen."""
    if not _is_a(context.type, _APP, JOB) or _has_stars(context) or (given := _argument(context, "job_type")) is None:
        return None
    submitted = get_proper_type(context.api.get_expression_type(given))
    if isinstance(submitted, CallableType) and submitted.is_type_obj():
        return _of_class(submitted.type_object(), context.api)
    if isinstance(submitted, TypeType) and isinstance(submitted.item, Instance):
        return _of_class(submitted.item.type, context.api)
    if isinstance(submitted, Instance) and submitted.type.fullname == FUNCTION:
        name = given.name if isinstance(given, (NameExpr, MemberExpr)) else "the function"
        return _of_function(name, get_proper_type(submitted.args[0]), context.api)
    return None


def _is_a(of: Type, *names: str) -> bool:
    return isinstance(of, Instance) and any(of.type.has_base(name) for name in names)


def _has_stars(context: MethodSigContext) -> bool:
    call = context.context
    return not isinstance(call, CallExpr) or any(kind in (ARG_STAR, ARG_STAR2) for kind in call.arg_kinds)


def _of_class(job: TypeInfo, api: CheckerPluginInterface) -> TypedDictType | None:
    if not job.has_base(JOB) or job.is_abstract:  # of which a subclass is submitted
        return None
    seen = parameters_of(job)
    return None if seen is None else _named(f"parameters of {job.name}", *seen, api)


def _of_function(name: str, takes: Type, api: CheckerPluginInterface) -> TypedDictType | None:
    if not isinstance(takes, Parameters) or takes.is_ellipsis_args or not takes.arg_names:
        return None
    types: dict[str, Type] = {}
    required: set[str] = set()
    for own, kind, value in list(zip(takes.arg_names, takes.arg_kinds, takes.arg_types, strict=True))[1:]:
        if own is None or kind.is_star():
            return None
        types[own] = given_for(value, api.named_generic_type)
        if kind.is_required():
            required.add(own)
    return _named(f"parameters of {name}", types, required, api)


def _named(name: str, types: dict[str, Type], required: set[str], api: CheckerPluginInterface) -> TypedDictType:
    """Return a TypedDict of this name, by which errors call it."""
    base = api.named_generic_type("typing._TypedDict", [])
    info = TypeInfo(SymbolTable(), ClassDef(name, Block([])), base.type.module_name)
    info.bases, info.mro = [base], [info, *base.type.mro]
    info.typeddict_type = TypedDictType(types, required, set(), base)
    return TypedDictType(types, required, set(), Instance(info, []))


def with_fields(context: MethodSigContext) -> CallableType:
    """Return the signature of ``update_attrs`` with the fields of the job's class."""
    signature, job = context.default_signature, context.type
    if not isinstance(job, Instance) or not _is_a(job, JOB) or job.type.is_abstract or _has_stars(context):
        return signature
    own = attributes_of(job.type)
    if own is None:
        return signature
    types = {name: _attribute(job.type, name) for name in sorted(own | _SETTABLE)}
    return signature.copy_modified(
        arg_types=[*signature.arg_types[:-1], *types.values()],
        arg_kinds=[*signature.arg_kinds[:-1], *[ARG_NAMED_OPT] * len(types)],
        arg_names=[*signature.arg_names[:-1], *types],
    )


def _attribute(job: TypeInfo, name: str) -> Type:
    found = job.get(name)
    known = found.node.type if found is not None and isinstance(found.node, Var) else None
    return ANY if known is None else known


def with_any_parameters(context: MethodContext) -> Type:
    """Return the decorator of ``job(base=…)`` as one whose jobs have more parameters than the function, if they have.

    A base with ``Params`` of its own adds them to those of each function.
    """
    made = get_proper_type(context.default_return_type)
    result = get_proper_type(made.ret_type) if isinstance(made, CallableType) else None
    bases = context.arg_types[context.callee_arg_names.index("base")] if "base" in context.callee_arg_names else []
    base = get_proper_type(bases[0]) if bases else None
    if not (isinstance(made, CallableType) and isinstance(result, Instance) and result.type.fullname == FUNCTION):
        return context.default_return_type
    if not (isinstance(base, CallableType) and base.is_type_obj()) or schemas_of(base.type_object(), ("Params",)) == []:
        return context.default_return_type
    some = Parameters([ANY, ANY], [ARG_STAR, ARG_STAR2], [None, None], is_ellipsis_args=True)
    return made.copy_modified(ret_type=result.copy_modified(args=[some, *result.args[1:]]))
