"""Describe a job type by a JSON Schema of its parameters, for clients that submit it from elsewhere.

apispec's marshmallow plug-in does the conversion. It writes components of an OpenAPI 3.1 document, whose dialect is
JSON Schema 2020-12; here they become the definitions of one schema that stands alone.
"""

from __future__ import annotations

import inspect
from typing import Any

from marshmallow import EXCLUDE, fields, validate

from zerog.exceptions import ConfigurationError
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of
from zerog.jobs.secrets import is_secret
from zerog.support.extras import how_to_install

DIALECT = "https://json-schema.org/draft/2020-12/schema"

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""The texts of decimal numbers."""

_COMPONENTS, _DEFINITIONS = "#/components/schemas/", "#/$defs/"


def described_type(job_class: type[BaseJob]) -> dict[str, Any]:
    """Describe a job type: ``jobType``, ``title``, ``summary`` (a line), ``schemaVersion``, ``params`` (a JSON Schema).

    Raises ConfigurationError if apispec isn't installed, InvalidJobClass for a class that can't be registered.
    """
    declaration = declaration_of(job_class)
    text = inspect.cleandoc(job_class.__doc__ or "")
    return {
        "jobType": declaration.job_type,
        "title": job_class.TITLE,
        "summary": text.partition("\n")[0] or None,
        "schemaVersion": declaration.version,
        "params": parameters_of(job_class),
    }


def parameters_of(job_class: type[BaseJob]) -> dict[str, Any]:
    """Return the JSON Schema of the parameters that a client may set.

    ``submit`` accepts what the schema accepts, except what a validator refuses that JSON Schema can't express. It
    accepts a little more, as marshmallow does: texts of numbers, dates without an offset, "yes" for true.
    """
    spec, converter = _apispec()
    properties: dict[str, Any] = {}
    required: list[str] = []
    declaration = declaration_of(job_class)
    client_schemas = declaration.client_schemas
    for schema in client_schemas:
        part = converter.schema2jsonschema(schema)
        properties.update(part.get("properties", {}))
        required += part.get("required", [])
    definitions = spec.to_dict().get("components", {}).get("schemas", {})
    described: dict[str, Any] = {"$schema": DIALECT, "type": "object", "properties": properties}
    if required:
        described["required"] = sorted(required)
    described["additionalProperties"] = all(schema.unknown == EXCLUDE for schema in client_schemas)
    if declaration.rest is not None:
        described["additionalProperties"] = properties.pop(declaration.rest).get("additionalProperties", True)
    if definitions:
        described["$defs"] = definitions
    result: dict[str, Any] = _standing_alone(described)
    return result


def _apispec() -> tuple[Any, Any]:
    try:
        from apispec import APISpec
        from apispec.ext.marshmallow import MarshmallowPlugin
    except ImportError as error:
        raise ConfigurationError(
            f"the JSON Schema of parameters needs apispec, which isn't installed: {how_to_install('cli')}"
        ) from error
    plugin = MarshmallowPlugin()
    spec = APISpec("", "", "3.1.0", plugins=[plugin])
    converter: Any = plugin.converter
    for mend in (_decimal, _open_range, _anchored, _secret):
        converter.add_attribute_function(mend)
    return spec, converter


# Where apispec differs from marshmallow. Each function gets the schema of a field so far.


def _decimal(_converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    """Accept a decimal as text, too, which is how it is stored."""
    if not isinstance(field, fields.Decimal):
        return {}
    kinds = ret["type"] if isinstance(ret["type"], list) else [ret["type"]]
    return {"type": [*kinds, "string"], "pattern": NUMBER}


def _open_range(_converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    """Exclude the end of a range that is not part of it."""
    for validator in field.validators:
        if isinstance(validator, validate.Range):
            if not validator.min_inclusive and ret.get("minimum") == validator.min is not None:
                ret["exclusiveMinimum"] = ret.pop("minimum")
            if not validator.max_inclusive and ret.get("maximum") == validator.max is not None:
                ret["exclusiveMaximum"] = ret.pop("maximum")
    return {}


def _anchored(_converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    """Anchor a pattern: marshmallow matches from the beginning of a text, JSON Schema anywhere in it."""
    pattern = ret.get("pattern", "^")
    return {} if pattern.startswith(("^", "(?")) else {"pattern": f"^(?:{pattern})"}


def _secret(_converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    """Mark a secret as write-only, and don't show its default."""
    if not is_secret(field):
        return {}
    ret.pop("default", None)
    return {"writeOnly": True}


def _standing_alone(node: Any) -> Any:
    """Return a schema that stands alone: with definitions, plain JSON values, nothing that only the server writes."""
    if isinstance(node, list):
        return [_standing_alone(part) for part in node]
    if isinstance(node, str):
        return _DEFINITIONS + node.removeprefix(_COMPONENTS) if node.startswith(_COMPONENTS) else node
    if not isinstance(node, dict):
        return node if isinstance(node, (int, float, type(None))) else str(node)  # a date that limits a range
    return {
        name: _standing_alone(part)
        for name, part in node.items()
        if not (isinstance(part, dict) and part.get("readOnly") is True)
    }
