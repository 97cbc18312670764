"""Parameters of a client whose code is older: lifted by the same migrations as documents, before they are validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zerog.exceptions import CorruptDocument, InvalidJobClass, InvalidValue, SchemaTooNew
from zerog.jobs.declaration import Declaration, declaration_of
from zerog.jobs.migrations import parse_version
from zerog.records.fields import ENGINE_FIELDS
from zerog.records.job import new_document
from zerog.support import jsonvalues

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

MADE = "2000-01-01T00:00:00.000000+00:00"
"""The time at which the document that migrations see says it was made: the job isn't there yet."""


def lifted_params(
    job_class: type[BaseJob], params: Mapping[str, Any], version: str | float
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return parameters of an earlier version as those of the class, and the state that its migrations have made.

    Raises SchemaTooNew for a later version; InvalidValue for what is no version, or leads nowhere, and for parameters
    that the migrations refuse.
    """
    declaration = declaration_of(job_class)
    if not isinstance(params, Mapping) or ENGINE_FIELDS & params.keys():
        return params, {}  # what is wrong with them is found by the validation
    number = _parsed(version)
    if number == declaration.version:
        return params, {}
    if number > declaration.version:
        raise SchemaTooNew(
            f"the parameters for {declaration.job_type} are in schema version {number}, and its class here has "
            f"{declaration.version}. Nothing was stored. Deploy the newer code here first, or submit in that version."
        )
    jsonvalues.check(dict(params), "params")
    document = {**new_document(declaration.job_type, number, MADE), **params}
    try:
        lifted = declaration.chain.lift(document)
    except CorruptDocument as error:
        raise InvalidValue(
            f"the parameters for {declaration.job_type} in schema version {number} can't be migrated to "
            f"{declaration.version}: {error.__cause__ or error}. Nothing was stored."
        ) from error
    own = {key: value for key, value in lifted.items() if key not in ENGINE_FIELDS}
    state = _state_of(declaration, own)
    return own, state


def _parsed(version: str | float) -> float:
    try:
        return parse_version(version)
    except InvalidJobClass as error:
        raise InvalidValue(f"schema_version={version!r:.80}: {error}. Nothing was stored.") from None


def _state_of(declaration: Declaration, own: dict[str, Any]) -> dict[str, Any]:
    """Take the fields that aren't a client's out of ``own``, and return their attributes."""
    params = {f.data_key or name for schema in declaration.client_schemas for name, f in schema.load_fields.items()}
    fields = [field for field in declaration.fields.values() if field.key in own and field.key not in params]
    return {field.attribute: field.load(own.pop(field.key)) for field in fields}
