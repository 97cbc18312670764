"""Validators of marshmallow as data, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from marshmallow import fields, validate

from zerog.jobs.codecs import codec_of

OPAQUE = "opaque"
"""Key of a validator that is code: only its name is described."""

Validators = list[dict[str, Any]]


def described_validators(field: fields.Field[Any]) -> Validators:
    """Return the validators of a bound field in their order, each an object with one key, the validator's name."""
    given = list(field.validators)
    if isinstance(field, (fields.Url, fields.Email)):
        given = given[1:]  # its class implies it
    return [part for validator in given for part in _described(validator, field)]


def _described(validator: Any, field: fields.Field[Any]) -> Validators:
    if type(validator) is validate.And:
        return [part for inner in validator.validators for part in _described(inner, field)]
    describe = _DESCRIBE.get(type(validator))
    try:
        if describe is not None:
            return [{type(validator).__name__: describe(validator, field)}]
    except Exception:  # noqa: S110 - a bound or choice that the field itself can't write
        pass
    return [{OPAQUE: name_of(validator)}]


def name_of(code: Any) -> str:
    """Return where code was defined: ``shop.jobs.is_even``."""
    if type(code) is validate.Predicate:
        return repr(code)
    named = code if hasattr(code, "__qualname__") else type(code)
    return f"{named.__module__}.{named.__qualname__}"


def _range(given: Any, field: fields.Field[Any]) -> dict[str, Any]:
    dump = codec_of(field).dump
    found = {name: dump(getattr(given, name)) for name in ("min", "max") if getattr(given, name) is not None}
    excluded = {f"{name}Inclusive": False for name in found if not getattr(given, f"{name}_inclusive")}
    return {**found, **excluded}


def _length(given: Any, _field: fields.Field[Any]) -> dict[str, Any]:
    return {name: getattr(given, name) for name in ("min", "max", "equal") if getattr(given, name) is not None}


def _regexp(given: Any, _field: fields.Field[Any]) -> dict[str, Any]:
    flags = given.regex.flags & ~re.UNICODE
    return {"pattern": given.regex.pattern + "", **({"flags": flags} if flags else {})}


def _choices(name: str, of_parts: bool = False) -> Callable[[Any, fields.Field[Any]], list[Any]]:
    def describe(given: Any, field: fields.Field[Any]) -> list[Any]:
        inner: Any = getattr(field, "inner", field) if of_parts else field
        return [codec_of(inner).dump(choice) for choice in getattr(given, name)]

    return describe


def _url(given: Any, _field: fields.Field[Any]) -> dict[str, Any]:
    return url_options(given)


def url_options(given: Any) -> dict[str, Any]:
    """Return the options of a URL validator that differ from its defaults."""
    plain = validate.URL()
    options = {name: getattr(given, name) for name in ("relative", "absolute", "require_tld")}
    changed = {name: value for name, value in options.items() if value != getattr(plain, name)}
    return changed if given.schemes == plain.schemes else {**changed, "schemes": sorted(given.schemes)}


_DESCRIBE: dict[type, Callable[[Any, fields.Field[Any]], Any]] = {
    validate.Range: _range,
    validate.Length: _length,
    validate.Regexp: _regexp,
    validate.OneOf: _choices("choices"),
    validate.NoneOf: _choices("iterable"),
    validate.ContainsOnly: _choices("choices", of_parts=True),
    validate.ContainsNoneOf: _choices("iterable", of_parts=True),
    validate.Equal: lambda given, field: codec_of(field).dump(given.comparable),
    validate.URL: _url,
    validate.Email: lambda _given, _field: {},
}


def keywords(validators: Validators, kind: object) -> dict[str, Any]:
    """Return the keywords of JSON Schema for validators, as far as it has them, for values of a JSON type."""
    found: dict[str, Any] = {}
    for validator in validators:
        [(name, given)] = validator.items()
        if name == "Range" and kind in ("integer", "number"):
            for end, keyword in (("min", "inimum"), ("max", "aximum")):
                if end in given:
                    excluded = given.get(f"{end}Inclusive") is False
                    found[f"exclusive{end[0].upper()}{keyword}" if excluded else end[0] + keyword] = given[end]
        elif name == "Length":
            unit = {"string": "Length", "array": "Items", "object": "Properties"}.get(str(kind), "Length")
            for end in ("min", "max"):
                if end in given or "equal" in given:
                    found[end + unit] = given.get(end, given.get("equal"))
        elif name == "Regexp":
            pattern = given["pattern"]
            found["pattern"] = pattern if pattern.startswith(("^", "(?")) else f"^(?:{pattern})"
        elif name == "OneOf":
            found["enum"] = given
        elif name == "NoneOf":
            found["not"] = {"enum": given}
        elif name == "Equal":
            found["const"] = given
        elif name == "ContainsOnly" and kind == "array":
            found["x-items-enum"] = given
    return found


def built(validators: Validators, load: Callable[[Any], Any], load_part: Callable[[Any], Any]) -> list[Any]:
    """Return the validators that were described, without those that are code.

    ``load`` converts a stored value to the field's own, ``load_part`` that of a part of it.
    """
    return [
        _BUILD[name](given, load_part if name.startswith("Contains") else load)
        for validator in validators
        for name, given in validator.items()
        if name != OPAQUE
    ]


def _built_range(given: dict[str, Any], load: Callable[[Any], Any]) -> validate.Range:
    ends = {name: load(given[name]) for name in ("min", "max") if name in given}
    return validate.Range(
        **ends, min_inclusive=given.get("minInclusive", True), max_inclusive=given.get("maxInclusive", True)
    )


_BUILD: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "Range": _built_range,
    "Length": lambda given, _: validate.Length(**given),
    "Regexp": lambda given, _: validate.Regexp(given["pattern"], given.get("flags", 0)),
    "OneOf": lambda given, load: validate.OneOf([load(choice) for choice in given]),
    "NoneOf": lambda given, load: validate.NoneOf([load(choice) for choice in given]),
    "ContainsOnly": lambda given, load: validate.ContainsOnly([load(choice) for choice in given]),
    "ContainsNoneOf": lambda given, load: validate.ContainsNoneOf([load(choice) for choice in given]),
    "Equal": lambda given, load: validate.Equal(load(given)),
    "URL": lambda given, _: validate.URL(**given),
    "Email": lambda _given, _: validate.Email(),
}
