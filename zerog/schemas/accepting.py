"""Check the parameters of a job by the stored schema of its type, where its class isn't at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from zerog.engine.engine import Engine
from zerog.exceptions import UnknownJobType
from zerog.schemas.describe import Described
from zerog.schemas.rebuild import ACCEPT, Model, Opaque
from zerog.schemas.stored import StoredSchemas
from zerog.support.jsonvalues import short_repr
from zerog.support.suggestions import close_to


def check_params(engine: Engine, job_type: str, params: Mapping[str, Any]) -> None:
    """Check parameters by the latest stored schema of a type, as far as that says; what is code there checks nothing.

    Raises UnknownJobType, naming the types that are known, and marshmallow's ValidationError with messages by field.
    """
    stored = StoredSchemas(engine).of_type(job_type)
    if not stored:
        raise UnknownJobType(_unknown(job_type, list(StoredSchemas(engine).all())))
    newest = max(one.described["schemaVersion"] for one in stored)
    described = [one.described for one in stored if one.described["schemaVersion"] == newest][-1]
    problems = _problems(described["params"], params)
    if problems:
        raise ValidationError(problems)


def _problems(described: Described, params: Mapping[str, Any]) -> dict[str, list[Any]]:
    fields = {key: part for key, part in described["properties"].items() if not part["x-field"].get("dump_only")}
    found = {key: ["Missing data for required field."] for key in described.get("required", ()) if key not in params}
    for key, value in params.items():
        if key in fields:
            problem = _problem(key, fields[key], value)
        else:
            problem = None if described.get("additionalProperties", True) else "Unknown field."
        if problem is not None:
            found[key] = [problem]
    return found


def _problem(key: str, described: Described, value: Any) -> str | None:
    try:
        return Model(key, described).problem(ACCEPT, value)
    except Opaque:
        return None


def _unknown(job_type: str, known: list[str]) -> str:
    close = close_to(job_type, known)
    hint = f"; did you mean {close!r}?" if close else "."
    return (
        f"no schema is stored of the job type {short_repr(job_type)}{hint} Known: {', '.join(known) or 'none'}. "
        "Workers store those of their classes when they start, zerog setup MODULE:APP at once. Or give MODULE:APP in "
        "place of the URL. Nothing was stored."
    )
