"""Texts of values and exceptions that a job's code has made, whatever their ``repr`` and ``str`` do."""

from __future__ import annotations

from zerog.support import jsonvalues
from zerog.support.texts import name_of

FAILED = (Exception, SystemExit, GeneratorExit)
"""What ``str()`` or ``repr()`` of a job's value may raise; not an interruption of the run."""


def repr_of(value: object) -> str:
    """Return a value for a message, even if its ``repr`` fails."""
    try:
        text = repr(value)
    except FAILED as failure:
        text = f"{name_of(type(value))} whose repr() raised {name_of(type(failure))}"
    return jsonvalues.storable_text(text[:200] + ("…" if len(text) > 200 else ""))


def message_of(error: BaseException) -> str:
    """Return the type and text of an exception, with its notes, even if its ``str`` fails."""
    try:
        text = str(error)
    except FAILED as failure:
        text = f"<str() of it raised {name_of(type(failure))}>"
    notes = getattr(error, "__notes__", [])
    text = " ".join([text, *(f"({note})" for note in notes if isinstance(note, str))]).strip()
    kind = name_of(type(error))
    return f"{kind}: {text}" if text else kind
