"""Find text files and count what is in them, without jobs."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

LARGEST = 64 * 1024 * 1024
"""Bytes of a file beyond which it is left out."""

SAMPLE = 8 * 1024
"""Bytes from the beginning of a file that decide whether it is text."""

WORD = re.compile(r"\w+")

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Totals(NamedTuple):
    """The counts."""

    files: int = 0
    lines: int = 0
    words: int = 0
    letters: int = 0

    def plus(self, other: Totals) -> Totals:
        """Return the sum of both, part by part."""
        return Totals(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def find_texts(folder: Path, suffix: str | None = None) -> list[str]:
    """Return the names of the text files below ``folder``, sorted; with ``suffix`` only those that end so.

    Names are relative and percent-encoded, because a file name on disk may be no valid text.
    """
    return sorted(name for name in _names(os.fsencode(folder), suffix) if is_text(path_of(folder, name)))


def _names(folder: bytes, suffix: str | None) -> Iterator[str]:
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in (b"site-packages", b"__pycache__", b".git")]
        for name in files:
            if suffix is None or name.endswith(suffix.encode()):
                yield quote_from_bytes(os.path.relpath(os.path.join(base, name), folder))


def path_of(folder: Path, name: str) -> Path:
    """Return the path of a file that ``find_texts`` named."""
    return folder / os.fsdecode(unquote_to_bytes(name))


def is_text(path: Path) -> bool:
    """Return True if a file can be read and looks like text: marked as Unicode, or without NUL bytes."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            sample = file.read(SAMPLE)
    except OSError:
        return False
    return _encoding(sample) is not None


def _encoding(sample: bytes) -> str | None:
    for mark, encoding in _MARKS.items():
        if sample.startswith(mark):
            return encoding
    return None if b"\0" in sample else "utf-8"


def read_text(path: Path) -> str:
    """Return the text of a file; what isn't UTF-8 and has no mark is read as Latin-1, which accepts any bytes."""
    data = path.read_bytes()
    encoding = _encoding(data[:SAMPLE]) or "latin-1"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def count(text: str) -> Totals:
    """Return one file's totals."""
    return Totals(1, len(text.splitlines()), len(WORD.findall(text)), sum(map(str.isalpha, text)))
