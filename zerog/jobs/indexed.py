"""ATTRIBUTES: the fields of a job whose values are copied into its head's ``attrs``, by which jobs are found.

A client's value that is too long is refused. What a run makes too long is shortened, with one warning: a step that is
done must not fail because of an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from marshmallow import fields

from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.concurrency import check_concurrency
from zerog.jobs.declared_field import OwnField
from zerog.records.attrs import ATTRS, LONGEST, MOST, text_of
from zerog.records.operations import Document, Operation, Put, Remove, Set
from zerog.support import jsonvalues
from zerog.support.suggestions import close_to

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

_WITH_PARTS = (fields.List, fields.Tuple, fields.Mapping, fields.Nested)
"""Fields whose values are no single text, number or truth value."""


def indexed_fields(job_class: type[BaseJob], declared: Mapping[str, OwnField]) -> dict[str, str]:
    """Return the names in ATTRIBUTES by the keys of their fields in the document. Raises InvalidJobClass."""
    where, names = f"{job_class.__qualname__}.ATTRIBUTES", job_class.ATTRIBUTES
    if type(names) not in (tuple, list) or not all(type(name) is str for name in names):
        raise InvalidJobClass(f'{where} is {names!r:.80}; expected names of fields, such as ("customer",)')
    if len(names) > MOST or len(set(names)) < len(names):
        raise InvalidJobClass(f"{where} is {names!r:.200}; expected at most {MOST} names, each of them once")
    for name in names:
        field = declared.get(name)
        if field is None:
            close = close_to(name, declared)
            hint = f"; did you mean {close}?" if close else ""
            raise InvalidJobClass(f"{where} names {name!r:.80}, which no field of Params or State is called{hint}")
        if field.is_secret:
            raise InvalidJobClass(f"{where} names {name}, which is secret: an attribute is shown and searched for")
        if isinstance(field.declared, _WITH_PARTS):
            kind = type(field.declared).__name__
            raise InvalidJobClass(f"{where} names {name}, a {kind}; expected a field of texts, numbers or booleans")
    check_concurrency(job_class)
    return {declared[name].key: name for name in names}


class Indexed:
    """The fields of ATTRIBUTES of one job class. Without any it costs nothing."""

    def __init__(self, declared: Mapping[str, str]) -> None:
        self._names = dict(declared)

    def __bool__(self) -> bool:
        return bool(self._names)

    def of(self, head: Document, is_cut: bool = False) -> dict[str, str]:
        """Return the attributes of a head in the class's form. Raises InvalidValue for one that is too long.

        ``is_cut``: shorten it instead.
        """
        texts = {name: _text(name, head.get(key), is_cut) for key, name in self._names.items()}
        return {name: text for name, text in texts.items() if text is not None}

    def operations(self, changes: Iterable[Operation], is_cut: bool = False) -> list[Operation]:
        """Return the operations that keep the attributes with these changes; raises and shortens as ``of`` does."""
        kept: list[Operation] = []
        for change in changes:
            name = self._names.get(change.field)
            if name is not None and isinstance(change, (Set, Remove)):
                value = change.value if isinstance(change, Set) else None
                kept.append(Put(ATTRS, name, _text(name, value, is_cut)))
        return kept

    def too_long(self, changes: Iterable[Operation]) -> str | None:
        """Return the name of an attribute whose text these changes make too long, or None."""
        for change in changes:
            name = self._names.get(change.field)
            if name is not None and isinstance(change, Set) and len(text_of(change.value) or "") > LONGEST:
                return name
        return None


def _text(name: str, value: Any, is_cut: bool) -> str | None:
    text = text_of(value)
    if text is None or len(text) <= LONGEST:
        return text
    if is_cut:
        return text[:LONGEST]
    raise InvalidValue(
        f"{name}={jsonvalues.short_repr(value)} has {len(text)} characters, and as one of ATTRIBUTES it may have "
        f"{LONGEST}; nothing was stored"
    )
