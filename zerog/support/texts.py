"""Foreign text in output: on a terminal or in a log.

Text of jobs, documents, records and clients may contain escape sequences (ECMA-48; OSC 8 and 52 of xterm among them),
the same as C1 controls, marks that reverse or hide text (Unicode TR 36), and line ends that make it look like a record
of its own. Whatever prints such a text passes it through ``clean`` or ``flat`` first.
"""

from __future__ import annotations

import traceback
import unicodedata

INDENT = "    "
"""What each line of a record but its first begins with."""

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's general categories of controls, formatting marks, surrogates, and separators of lines and paragraphs."""


def clean(text: object, keep: str = "\n\t") -> str:
    """Return a text without terminal control: control characters but those in ``keep`` are shown as escapes."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _CONTROL and char not in keep else char for char in shown
    )


def flat(text: object) -> str:
    """Return ``clean`` text on one line."""
    return clean(text, keep="")


def indented(text: object, indent: str = INDENT) -> str:
    """Return ``clean`` text of which each line but the first is indented, so that none looks like a new record."""
    return clean(text).replace("\n", f"\n{indent}")


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception as ``clean`` text, each line but the first indented."""
    return indented("".join(traceback.format_exception(error)).rstrip("\n"))
