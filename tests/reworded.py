"""A pytest plugin that rewords the messages of other libraries: ``pytest -p tests.reworded``.

What passes with it doesn't depend on the words of marshmallow, click, pymongo and mongomock, which change with any of
their releases. Processes that tests start use the real words.
"""

from __future__ import annotations

import re
from typing import Any

import click
import marshmallow
import pymongo.errors
from marshmallow import fields, validate

_PLACEHOLDER = re.compile(r"(\{[^}]*\}|%\([^)]*\)s)")


def reworded(text: str) -> str:
    """Return a text with other words and the same placeholders."""
    parts = _PLACEHOLDER.split(text)
    return "".join(part if _PLACEHOLDER.fullmatch(part) else part.swapcase() for part in parts)


def _subclasses(kind: type) -> list[type]:
    return [kind, *(found for child in kind.__subclasses__() for found in _subclasses(child))]


def _reword_marshmallow() -> None:
    for kind in _subclasses(fields.Field):
        own: dict[str, str] = kind.__dict__.get("default_error_messages", {})
        if kind.__module__.startswith("marshmallow"):
            own.update({key: reworded(text) for key, text in own.items()})
    of_schemas = marshmallow.Schema._default_error_messages
    of_schemas.update({key: reworded(text) for key, text in of_schemas.items()})
    for kind in _subclasses(validate.Validator):
        for name, value in list(vars(kind).items()):
            if name.startswith(("message", "default_message")) and isinstance(value, str):
                setattr(kind, name, reworded(value))


def _reword_click() -> None:
    for module in (click.core, click.exceptions, click.parser, click.types, click.decorators):
        if hasattr(module, "_"):
            module._ = lambda text, *_: reworded(text)


def _reword_pymongo() -> None:
    def text(error: Any) -> str:
        return reworded(Exception.__str__(error))

    pymongo.errors.PyMongoError.__str__ = text  # type: ignore[method-assign]


_reword_marshmallow()
_reword_click()
_reword_pymongo()
