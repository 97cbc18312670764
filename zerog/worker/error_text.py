"""Texts of values and exceptions that a job's code has made, whatever their ``repr`` and ``str`` do."""

from __future__ import annotations

from zerog.support import jsonvalues


def repr_of(value: object) -> str:
    """Return a value for a message, even if its ``repr`` fails."""
    try:
        text = repr(value)
    except Exception as failure:
        text = f"{type(value).__name__} whose repr() raised {type(failure).__name__}"
    return jsonvalues.storable_text(text[:200] + ("…" if len(text) > 200 else ""))


def message_of(error: BaseException) -> str:
    """Return the type and text of an exception, with its notes, even if its ``str`` fails."""
    try:
        text = str(error)
    except Exception as failure:
        text = f"<str() of it raised {type(failure).__name__}>"
    notes = getattr(error, "__notes__", [])
    text = " ".join([text, *(f"({note})" for note in notes if isinstance(note, str))]).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
