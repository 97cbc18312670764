"""The description of the API: OpenAPI 3.1, made by apispec of the marshmallow schemas and of the registered types."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields, validate

import zerog
from zerog.jsonschema import DIALECT, parameters_of
from zerog.schedules.definition import NAMES
from zerog.web import answers, requests
from zerog.web.access import Tokens
from zerog.web.answer import Answer
from zerog.web.call import Call, Endpoint
from zerog.web.endpoints import ENDPOINTS
from zerog.web.fields import LINE, Uuid

SUMMARY = "Submit, follow and steer jobs. Every refusal says in `effect` what happens to the job."

PROBLEMS = {
    400: "The request is malformed, or addresses an unknown host.",
    401: "No known bearer token was sent.",
    403: "This is not allowed here.",
    404: "There is no such job, type, worker, role or path.",
    408: "The body was sent too slowly.",
    409: "The job's status doesn't allow this, or a job of this uuid exists.",
    412: "The job was changed since it was read.",
    413: "The body is too long.",
    415: "The body is no application/json.",
    422: "A value is wrong; `errors` has the messages by field.",
    428: "If-Match is missing.",
    429: "Too many jobs wait on the queue; Retry-After says when to come again.",
    500: "Something is wrong on the server.",
    503: "The jobs can't be reached, or the answer to a write was lost.",
}

ALWAYS = (400, 403, 422, 500, 503)
OF_A_BODY = (408, 413, 415)

ONE_CHOICE = {"oneOf": [{"required": ["names"]}, {"required": ["host"]}, {"required": ["all"]}]}
ONE_PLACE = {"anyOf": [{"required": ["queue"]}, {"required": ["priority"]}]}
ONE_TIME = {"oneOf": [{"required": ["cron"]}, {"required": ["every"]}]}
ANY_LIMIT = {"minProperties": 1}
ONE_START = {"not": {"required": ["delay", "at"]}}

_RULES = {
    requests.Workers: ONE_CHOICE,
    requests.Move: ONE_PLACE,
    requests.ScheduleDefinition: ONE_TIME,
    requests.QueueLimits: ANY_LIMIT,
}
"""What JSON Schema adds to bodies: which fields exclude each other."""

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def described(call: Call) -> Answer:
    """Return the description."""
    return Answer(describe(call))


def describe(call: Call) -> dict[str, Any]:
    """Return the description of the API as it is for this client: with its prefix and its types."""
    info = {"description": SUMMARY}
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _name(schema))
    spec = APISpec("ZeroG", zerog.__version__, "3.1.0", plugins=[plugin], info=info, jsonSchemaDialect=DIALECT)
    converter: Any = plugin.converter
    converter.add_attribute_function(_mended)
    bodies = (requests.Submission, requests.Drain, *_RULES)
    for schema in (answers.Problem, answers.Progress, *bodies):
        spec.components.schema(_name(schema), schema=schema)
    types = _parameters(spec, call)
    is_tokens = isinstance(call.site.access, Tokens)
    problems = (*ALWAYS, 401) if is_tokens else ALWAYS
    if is_tokens:
        spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    for endpoint in ENDPOINTS:
        if call.site.is_read_only and endpoint.method != "GET":
            continue
        for path, operation in _operations(endpoint, types, problems):
            spec.path(path, operations={endpoint.method.lower(): operation})
    content: dict[str, Any] = spec.to_dict()
    content["servers"] = [{"url": call.link("") or "/"}]
    if is_tokens:
        content["security"] = [{"bearer": []}]
    return content


def _name(schema: Any) -> str:
    return schema.__name__ if isinstance(schema, type) else type(schema).__name__


def _operations(
    endpoint: Endpoint, types: dict[str, dict[str, Any]], problems: tuple[int, ...]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the paths of an endpoint and what is said of each; by type, where the type decides on the body."""
    operation = _operation(endpoint, problems)
    if endpoint.body is None:
        return [(endpoint.path, operation)]
    if isinstance(endpoint.body, requests.Params) and types:
        without = [p for p in operation["parameters"] if p["in"] != "path"]
        return [
            (
                endpoint.path.replace("{type}", quote(name, safe="")),
                {
                    **operation,
                    "operationId": f"{operation['operationId']}_{number}",
                    "parameters": without,
                    "requestBody": _body(schema, is_required=bool(schema.get("required"))),
                },
            )
            for number, (name, schema) in enumerate(types.items())
        ]
    for kind, rule in _RULES.items():
        if isinstance(endpoint.body, kind):
            name = _name(endpoint.body)
            operation["requestBody"] = _body({"allOf": [{"$ref": f"#/components/schemas/{name}"}, rule]})
    if isinstance(endpoint.body, requests.Submission) and types:
        operation["requestBody"] = _body({"oneOf": [_submission(name, types[name]) for name in types]})
    return [(endpoint.path, operation)]


def _operation(endpoint: Endpoint, problems: tuple[int, ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (meaning, schema) in endpoint.answers.items():
        responses[str(status)] = {"description": meaning}
        if schema is answers.Events:
            responses[str(status)]["content"] = {"text/event-stream": {"schema": {"type": "object"}}}
        elif schema is answers.Exposition:
            responses[str(status)]["content"] = {"text/plain": {"schema": {"type": "string"}}}
        elif schema is not None:
            content: Any = {} if schema is answers.Value else schema
            responses[str(status)]["content"] = {"application/json": {"schema": content}}
    of_body = () if endpoint.body is None else OF_A_BODY
    for status in sorted({*problems, *endpoint.problems, *of_body}):
        responses[str(status)] = {"description": PROBLEMS[status], "content": _PROBLEM}
    parameters: list[Any] = [
        {"in": "path", "name": name, "required": True, "schema": _of_path(name)}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.query is not None:
        parameters.append({"in": "query", "schema": type(endpoint.query)})
    for name, meaning in endpoint.headers.items():
        parameters.append({"in": "header", "name": name, "description": meaning, "schema": {"type": "string"}})
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.handler.__name__}_{endpoint.path.strip('/').split('/')[0]}",
        "summary": endpoint.summary,
        "tags": [endpoint.group],
        "parameters": parameters,
        "responses": responses,
    }
    if endpoint.body is not None:
        operation["requestBody"] = _body(type(endpoint.body), any(f.required for f in endpoint.body.fields.values()))
    return operation


def _body(schema: Any, is_required: bool = True) -> dict[str, Any]:
    return {"required": is_required, "content": {"application/json": {"schema": schema}}}


def _of_path(name: str) -> dict[str, Any]:
    if name == "schedule":
        return {"type": "string", "pattern": f"^{NAMES}$"}
    return {"type": "string", "format": "uuid"} if name == "uuid" else {"type": "string", "minLength": 1}


def _mended(_converter: Any, field: fields.Field[Any], **_more: Any) -> dict[str, Any]:
    """Return what apispec doesn't derive from a field: its pattern, format, least number of members."""
    if isinstance(field, Uuid):
        return {"format": "uuid"}
    if isinstance(field, requests.Attribute):
        return {"pattern": r"^[^=\u0000-\u001f\u007f-\u009f]+=[^\u0000-\u001f\u007f-\u009f]*$"}
    for validator in field.validators:
        if isinstance(field, fields.Dict) and isinstance(validator, validate.Length):
            return {"minProperties": validator.min}
        if isinstance(validator, validate.Regexp) and validator.regex.pattern == LINE:
            return {"pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"}
    return {}


def _submission(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return what may be submitted of one type."""
    own: dict[str, Any] = {"type": {"const": name}, "params": params}
    required = ["type", "params"] if params.get("required") else ["type"]
    own_part = {"type": "object", "properties": own, "required": required}
    return {"title": name, "allOf": [{"$ref": "#/components/schemas/Submission"}, own_part, ONE_START]}


def _parameters(spec: APISpec, call: Call) -> dict[str, dict[str, Any]]:
    """Return the schemas of all types' parameters by type; their definitions become components."""
    found = {}
    for number, job_class in enumerate(call.app.registry.client_classes()):
        schema = parameters_of(job_class)
        schema.pop("$schema")
        definitions = schema.pop("$defs", {})
        prefix = f"Type{number}."
        for name, definition in definitions.items():
            spec.components.schema(prefix + _safe(name), component=_moved(definition, prefix))
        found[str(job_class.JOB_TYPE)] = _moved(schema, prefix)
    return found


def _moved(node: Any, prefix: str) -> Any:
    """Return a schema whose references lead to components."""
    if isinstance(node, list):
        return [_moved(part, prefix) for part in node]
    if isinstance(node, dict):
        return {name: _moved(part, prefix) for name, part in node.items()}
    if isinstance(node, str) and node.startswith("#/$defs/"):
        return f"#/components/schemas/{prefix}{_safe(node.removeprefix('#/$defs/'))}"
    return node


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
