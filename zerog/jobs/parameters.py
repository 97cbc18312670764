"""Apply an operator's edit of parameters: validate them as a whole, and write those given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from zerog.engine.operator import Change
from zerog.exceptions import InvalidValue
from zerog.jobs.additions import upgrade
from zerog.jobs.declaration import declaration_of
from zerog.jobs.secrets import HIDDEN
from zerog.jobs.size_limit import Sizes, check_growth
from zerog.records.job import Document
from zerog.records.operations import Operation, Set
from zerog.support import jsonvalues

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

SHOWN = 200
"""Characters of JSON up to which a value is shown as it is, in a difference and in the event that records it."""


def change_of(job_class: type[BaseJob], head: Document, params: Mapping[str, Any]) -> Change:
    """Return the change that gives a job of this class the parameters ``params``; the remaining ones stay.

    Raises marshmallow's ValidationError with messages by field, InvalidValue if nothing or something that JSON can't
    hold is given, SchemaTooNew and CorruptDocument.
    """
    if not params:
        raise InvalidValue(f"no parameter was given for job {head['uuid']}; nothing was changed")
    declaration = declaration_of(job_class)
    lifted = declaration.chain.lift(head)
    params = declaration.gathered(params, lifted)
    names = {
        field.data_key or name: name
        for schema in declaration.client_schemas
        for name, field in schema.load_fields.items()
    }
    kept = {key: lifted[key] for key in names if lifted.get(key) is not None and key not in params}
    converting = [key for key in kept if (own := declaration.by_key(key)) is not None and not own.is_straight]
    given = {**{key: value for key, value in kept.items() if key not in converting}, **params}
    loaded = declaration.validated(given, partial=[names[key] for key in converting])
    operations: list[Operation] = []
    fields: dict[str, Any] = {}
    for key in params:
        field = declaration.by_key(key)
        if field is None or field.attribute not in loaded:  # hooks of the schema turn it into something else
            raise ValidationError({key: ["Isn't stored under this name; give the fields that it becomes."]})
        old, new = lifted.get(key), field.dump(loaded[field.attribute])
        if key in lifted and type(old) is type(new) and old == new:
            continue
        operations.append(Set(key, new))
        is_secret = key in declaration.secrets
        fields[key] = {"old": HIDDEN, "new": HIDDEN} if is_secret else {"old": _brief(old), "new": _brief(new)}
    check_growth(job_class, head["uuid"], Sizes(lifted), operations)
    operations += declaration.indexed.operations(operations)
    if operations and lifted is not head:
        operations = [*upgrade(declaration, head, lifted), *operations]
    return Change(operations, fields)


def _brief(value: Any) -> Any:
    """Return a value to be shown, or the beginning of its JSON if it is long."""
    text = jsonvalues.encode_checked(value)
    return value if len(text) <= SHOWN else f"{text[:SHOWN]}…"
