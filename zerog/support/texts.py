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


def counted(count: int, one: str, many: str) -> str:
    """Return a number with the words for one, or for any other number: ``1 job waits``, ``1,234 jobs wait``."""
    return f"{count:,} {one if count == 1 else many}"


def name_of(kind: type) -> str:
    """Return the qualified name of a class, whatever its metaclass does with attributes."""
    return str(type.__getattribute__(kind, "__qualname__"))


LOGGED = 4_000
"""Bytes of a job's own text in a log message. Documents keep more of it."""


def shortened(text: str, most: int) -> str:
    """Return a text of at most ``most`` bytes in UTF-8: the middle of a longer one is left out."""
    raw = text.encode(errors="replace") if len(text) <= most else None
    if raw is not None and len(raw) <= most:
        return text
    half = most // 2 - 100
    first, last = text[:half].encode(errors="replace")[:half], text[-half:].encode(errors="replace")[-half:]
    begin, end = first.decode(errors="ignore"), last.decode(errors="ignore")
    return f"{begin}\n… {len(text) - len(begin) - len(end):,} characters left out …\n{end}"


def plain_traceback(error: BaseException, most: int) -> str:
    """Return the traceback of an exception within ``most`` bytes, even if it can't be formatted."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as failure:  # of a metaclass, or of a group that is nested too deep
        text = f"the traceback of {name_of(type(error))} can't be formatted: {name_of(type(failure))}\n"
    return shortened(text, most)


def traceback_of(error: BaseException, most: int = 64 * 1024) -> str:
    """Return the traceback of an exception as ``clean`` text, each line but the first indented."""
    return indented(plain_traceback(error, most).rstrip("\n"))
