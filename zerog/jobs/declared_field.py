"""One field that a job class declares: its key in the document, and how its values are stored, read and validated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, missing

from zerog.exceptions import InvalidValue
from zerog.jobs import bounds, secrets
from zerog.jobs.codecs import codec_of, initial, is_straight
from zerog.support import jsonvalues

NOT_KEPT = (
    "Can't be stored: what was made of it would come back from the document as something else, so that the run would "
    "see another value. The schema needs fields that can write what its hooks or conversions make."
)
"""Message for a value that its schema can't read again."""

_FAILURES = (ValueError, TypeError, AttributeError, KeyError, ArithmeticError, RecursionError)
"""Errors that the dump of a wrong value raises."""


class OwnField:
    """One field that a job class declares."""

    def __init__(self, name: str, declared: fields.Field[Any]) -> None:
        self.key = declared.data_key or name
        self.attribute = declared.attribute or name
        self.declared = declared
        self._codec = codec_of(declared)
        self.is_straight = is_straight(declared)
        """True if a stored value may be validated as if a client had sent it."""
        self.required = declared.required
        self.default = declared.load_default
        self.is_left_out = self.default is missing and not declared.required and not declared.allow_none
        """True if the document omits it while it has no value, because its own schema would refuse null."""
        self.is_secret = secrets.is_secret(declared)

    def initial(self) -> Any:
        """Return the value of a field that the document doesn't have."""
        return initial(self.declared)

    def load(self, value: Any) -> Any:
        """Return the value of its JSON. Raises whatever a field's conversion raises."""
        if type(value) is dict or type(value) is list:
            value = jsonvalues.copy(value)  # the job may change it in place, and the stored value must stay as it is
        return self._codec.load(value)

    def dump(self, value: Any) -> Any:
        """Return the JSON of a value, which shares nothing with it. Raises InvalidValue, naming the field."""
        if value is None:
            return None
        try:
            dumped = self._codec.dump(value)
        except _FAILURES as error:
            raise self._refusal(value, error) from (None if self.is_secret else error)
        try:
            jsonvalues.check(dumped, self.key)
        except InvalidValue as error:
            if self.is_secret:
                raise self._refusal(value, error) from None
            raise
        return jsonvalues.copy(dumped)

    def _refusal(self, value: Any, error: BaseException) -> InvalidValue:
        """Return the error for a wrong value, without the value if it is a secret."""
        kind = _with_article(self.declared)
        if self.is_secret:
            return InvalidValue(f"{self.attribute} was given what is no value for {kind} field; it was not stored")
        return InvalidValue(
            f"{self.attribute}={jsonvalues.short_repr(value)} is no value for {kind} field ({error!s:.200}); "
            "it was not stored"
        )

    def check_kept(self, value: Any) -> None:
        """Refuse a validated value that would be read from the document as another one.

        Raises marshmallow's ValidationError, and InvalidValue for what JSON can't hold.
        """
        try:
            if self._codec.keeps(value):
                return
            dumped = self.dump(value)
        except InvalidValue as error:
            if isinstance(error.__cause__, bounds.OutOfRange):
                raise ValidationError([bounds.TOO_LARGE]) from error
            raise
        try:
            is_kept = is_same(value, self.load(dumped))
        except Exception as error:  # conversions and hooks of the user's own may raise anything
            raise ValidationError([NOT_KEPT]) from error
        if not is_kept:
            raise ValidationError([NOT_KEPT])

    def validate(self, value: Any, dumped: Any) -> None:
        """Run the declared validators on what is about to be written. Raises marshmallow's ValidationError."""
        if not self.declared.validators and type(dumped) in self._codec.plain:
            return
        try:
            if self.is_straight:
                self.declared.deserialize(dumped, self.key, {})
            else:
                self._codec.validate(value)
        except ValidationError as error:
            if self.is_secret:
                raise ValidationError({self.attribute: [secrets.REFUSED]}) from None
            raise ValidationError({self.attribute: error.messages}) from error


def is_same(one: Any, other: Any) -> bool:
    """Return True if two values are the same for a job: of the same types, and equal in all their parts."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        if isinstance(one, Mapping) and isinstance(other, dict):
            return is_same(dict(one), other)
        return {kind, type(other)} == {int, float} and bool(one == other)  # a default may be written 1 for 1.0
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if kind is dict:
        return one.keys() == other.keys() and all(is_same(part, other[key]) for key, part in one.items())
    if kind is Decimal:
        return str(one) == str(other)
    if kind is datetime:
        return bool(one == other) and one.utcoffset() == other.utcoffset()
    if _has_no_equality(kind):
        return hasattr(one, "__dict__") and is_same(vars(one), vars(other))
    return bool(one == other) or (one != one and other != other)


def _has_no_equality(kind: type) -> bool:
    return all("__eq__" not in base.__dict__ for base in kind.__mro__ if base is not object)


def _with_article(field: fields.Field[Any]) -> str:
    kind = type(field).__name__
    return f"{'an' if kind[0] in 'AEIOU' and not kind.startswith('U') else 'a'} {kind}"
