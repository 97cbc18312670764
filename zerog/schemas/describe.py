"""Describe a job type as data: a JSON Schema of its parameters and its state as they are stored.

Each field is a JSON Schema, for people and tools, with an object ``x-field`` that names marshmallow's class, its
options and validators, so that the field can be built again. What is code (a Function, a field class or a hook of the
user's own) is named there as opaque.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, fields, missing

from zerog.jobs.base import BaseJob
from zerog.jobs.codecs import codec_of, hooks_of, is_straight
from zerog.jobs.declaration import declaration_of
from zerog.jobs.secrets import is_secret
from zerog.schemas.validators import described_validators, keywords, name_of, url_options
from zerog.support import jsonvalues

Described = dict[str, Any]

FROZEN = 1
"""Version of this description's own layout."""

MADE = "$made"
"""Key of a default that a function makes: its name."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

_JSON: dict[str, Described] = {
    "String": {"type": "string"},
    "UUID": {"type": "string", "format": "uuid"},
    "Integer": {"type": "integer"},
    "Float": {"type": "number"},
    "Decimal": {"type": "string", "pattern": _NUMBER},
    "Boolean": {"type": "boolean"},
    "Date": {"type": "string", "format": "date"},
    "Time": {"type": "string", "format": "time"},
    "DateTime": {"type": "string", "format": "date-time"},
    "NaiveDateTime": {"type": "string"},
    "AwareDateTime": {"type": "string", "format": "date-time"},
    "TimeDelta": {"type": "number"},
    "Url": {"type": "string", "format": "uri"},
    "Email": {"type": "string", "format": "email"},
    "IP": {"type": "string"},
    "IPv4": {"type": "string", "format": "ipv4"},
    "IPv6": {"type": "string", "format": "ipv6"},
    "IPInterface": {"type": "string"},
    "IPv4Interface": {"type": "string"},
    "IPv6Interface": {"type": "string"},
    "List": {"type": "array"},
    "Dict": {"type": "object"},
    "Mapping": {"type": "object"},
    "Nested": {"type": "object"},
}
"""The JSON Schema of what each class of marshmallow stores; of those that aren't here, anything."""

_OPTIONS = {
    "Integer": ("strict", "as_string"),
    "Float": ("allow_nan", "as_string"),
    "Decimal": ("places", "rounding", "allow_nan", "as_string"),
    "TimeDelta": ("precision",),
    "IP": ("exploded",),
}


def described(job_class: type[BaseJob]) -> Described:
    """Describe a job class. Raises InvalidJobClass for one that can't be registered."""
    declaration = declaration_of(job_class)
    of_clients: dict[str, fields.Field[Any]] = {}
    for schema in declaration.client_schemas:
        of_clients.update(schema.fields)
    state = {name: field.declared for name, field in declaration.fields.items() if name not in of_clients}
    params = _object(of_clients, declaration.client_schemas[-1], declaration.client_schemas)
    if declaration.rest is not None:
        params["x-schema"]["rest"] = declaration.rest
        params["additionalProperties"] = True
    return {
        "frozen": FROZEN,
        "jobType": declaration.job_type,
        "schemaVersion": declaration.version,
        "title": job_class.TITLE,
        "summary": inspect.cleandoc(job_class.__doc__ or "").partition("\n")[0] or None,
        "migrations": [[start, end] for start, end in declaration.chain.steps()],
        "params": params,
        "state": _object(state, Schema(unknown=RAISE), ()),
        "attributes": sorted(job_class.ATTRIBUTES),
    }


def hash_of(schema: Described) -> str:
    """Return the hash of what a description says about documents: 16 hexadecimal digits."""
    parts = {name: schema.get(name) for name in ("jobType", "schemaVersion", "params", "state", "attributes")}
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _object(declared: Mapping[str, fields.Field[Any]], schema: Schema, hooked: Iterable[Schema]) -> Described:
    return _object_of(declared, schema.unknown, schema.partial, hooked, ())


def _object_of(
    declared: Mapping[str, fields.Field[Any]],
    unknown: str,
    partial: Any,
    hooked: Iterable[Schema],
    above: tuple[type, ...],
) -> Described:
    parts = {field.data_key or name: _field(field, above) for name, field in declared.items()}
    result: Described = {"type": "object", "properties": parts}
    required = sorted(key for key, part in parts.items() if part["x-field"].get("required"))
    if required and not partial:
        result["required"] = required
    result["additionalProperties"] = unknown != RAISE
    words = {RAISE: "raise", EXCLUDE: "exclude", INCLUDE: "include"}
    result["x-schema"] = {"unknown": words.get(unknown, str(unknown))}
    hooks = sorted({hook for one in hooked for hook in _hooks(one)})
    if hooks:
        result["x-schema"]["hooks"] = hooks
    return result


def _hooks(schema: Schema) -> list[str]:
    kinds = hooks_of(schema).items()
    return [f"{kind} {hook[0]}" for kind, found in kinds if "load" in kind or "valid" in kind for hook in found]


def _field(field: fields.Field[Any], above: tuple[type, ...]) -> Described:
    base = next(kind for kind in type(field).__mro__ if _is_marshmallows(kind))
    kind = {"Str": "String", "Int": "Integer", "Bool": "Boolean", "URL": "Url"}.get(base.__name__, base.__name__)
    validators = described_validators(field)
    spec: Described = {"class": kind}
    opaque = _opaque(field)
    if opaque:
        spec["opaque"] = opaque
    options = {} if opaque else _options(field, kind)
    for name, value in (("options", options), ("validators", validators)):
        if value:
            spec[name] = value
    for name in ("required", "allow_none", "dump_only"):
        if getattr(field, name):
            spec[name] = True
    if is_secret(field):
        spec["secret"] = True
    for name in ("load_default", "dump_default"):
        if getattr(field, name) is not missing:
            spec[name] = _default(field, getattr(field, name))
    return {**_schema(field, kind, spec, above), "x-field": spec}


def _schema(field: fields.Field[Any], kind: str, spec: Described, above: tuple[type, ...]) -> Described:
    """Return the JSON Schema of a field's stored values."""
    result: Described = {} if "opaque" in spec else {**_JSON.get(kind, {})}
    options = spec.get("options", {})
    if options.get("as_string") and kind != "Decimal":
        result = {"type": "string"}
    if "format" in options and kind in ("DateTime", "NaiveDateTime", "AwareDateTime", "Date", "Time"):
        result = {"type": "number" if str(options["format"]).startswith("timestamp") else "string"}
    if "opaque" not in spec:
        if kind == "Enum":
            result["enum"] = sorted(options["members"].values(), key=str)
        elif isinstance(field, fields.List):
            result["items"] = _field(field.inner, above)
        elif isinstance(field, fields.Mapping):
            result.update(_dict(field, above))
        elif isinstance(field, fields.Nested):
            result.update(_nested(field, spec, above))
    result.update(keywords(spec.get("validators", []), result.get("type")))
    default = spec.get("load_default")
    if spec.get("allow_none"):
        result = _with_null(result)
    if "load_default" in spec and not _is_made(default):
        result["default"] = default
    if spec.get("secret"):
        result["writeOnly"] = True
    return result


def _with_null(schema: Described) -> Described:
    changed = {**schema}
    if "type" in schema:
        changed["type"] = [schema["type"], "null"]
    if "const" in schema:
        changed["enum"] = [changed.pop("const"), None]
    if "enum" in schema and None not in schema["enum"]:
        changed["enum"] = [*schema["enum"], None]
    return changed


def _dict(field: fields.Mapping[Any], above: tuple[type, ...]) -> Described:
    keys, values = field.key_field, field.value_field
    result: Described = {}
    if keys is not None:
        result["propertyNames"] = _field(keys, above)
    if values is not None:
        result["additionalProperties"] = _field(values, above)
    return result


def _nested(field: fields.Nested, spec: Described, above: tuple[type, ...]) -> Described:
    schema = field.schema
    if type(schema) in above:
        spec["opaque"] = [f"{type(schema).__name__} nests itself"]
        return {}
    inner = _object_of(schema.fields, field.unknown or schema.unknown, schema.partial, [schema], (*above, type(schema)))
    if isinstance(field, fields.Pluck):
        spec["opaque"] = [f"Pluck of {field.field_name}"]
        return {"type": ["string", "number", "boolean", "object", "array", "null"]}
    if field.many or schema.many:
        spec.setdefault("options", {})["many"] = True
        return {"type": "array", "items": inner}
    return inner


def _is_made(default: object) -> bool:
    return isinstance(default, dict) and MADE in default


def _default(field: fields.Field[Any], default: Any) -> Any:
    """Return a default as it is stored, or the name of what makes it; nothing of a secret."""
    if is_secret(field):
        return {MADE: "secret"}
    if callable(default):
        if getattr(default, "__module__", "") != "builtins":
            return {MADE: name_of(default)}
        default = default()
    try:
        stored = None if default is None else codec_of(field).dump(default)
        jsonvalues.check(stored, "default")
    except Exception:  # a default that its own field can't write
        return {MADE: repr(type(default).__name__)}
    return stored


def _options(field: fields.Field[Any], kind: str) -> Described:
    """Return the options of a field that differ from its class's defaults."""
    found: Described = {}
    names = _OPTIONS.get("IP" if kind.startswith("IP") else kind, ())
    for name in names:
        value = getattr(field, name, None)
        if value not in (None, False, "seconds"):
            found[name] = -value.as_tuple().exponent if name == "places" else value
    if isinstance(form := getattr(field, "format", None), str) and form != "iso":
        found["format"] = form
    for name in ("timezone", "default_timezone"):
        zone = getattr(field, name, None)
        if zone is not None:
            found[name] = "UTC" if zone is UTC else str(zone)
    if isinstance(field, fields.Boolean):
        for name in ("truthy", "falsy"):
            if set(getattr(field, name)) != getattr(fields.Boolean, name):
                found[name] = sorted(getattr(field, name), key=repr)
    if isinstance(field, fields.Enum):
        dump = codec_of(field).dump
        found["members"] = {member.name: dump(member) for member in field.enum}
        found["by_value"] = field.by_value is not False
    if isinstance(field, fields.Url):
        found.update(url_options(field.validators[0]))
    return found


def _opaque(field: fields.Field[Any]) -> list[str]:
    """Return what of a field is code, which a comparison can't see through."""
    own = [base for base in type(field).__mro__ if not _is_marshmallows(base) and base.__module__ not in _PLAIN]
    names = {
        name for base in own for name, value in vars(base).items() if callable(value) and not name.startswith("__")
    }
    found = []
    if any(hasattr(fields.Field, name) or name in ("_validated", "_format_num") for name in names):
        found.append(name_of(type(field)))
    if isinstance(field, (fields.Function, fields.Method)):
        found.append(type(field).__name__)
    found += [f"{kind} {name_of(hook)}" for kind in ("pre_load", "post_load") for hook in getattr(field, kind)]
    if not found and not is_straight(field) and not isinstance(field, (fields.Nested, fields.List, fields.Mapping)):
        found.append(name_of(type(field)))
    return found


_PLAIN = ("builtins", "abc", "typing")


def _is_marshmallows(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "marshmallow"
