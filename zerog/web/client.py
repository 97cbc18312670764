"""The client for browsers, ``zerog.js``, as it is served."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from zerog.web.answer import Answer
from zerog.web.call import Call


def script(_call: Call) -> Answer:
    """Return the client, which a page loads as a module."""
    return Answer(text=_text(), headers={"Content-Type": "text/javascript; charset=utf-8"}, is_tagged=True)


@cache
def _text() -> str:
    return Path(__file__).with_name("zerog.js").read_text(encoding="utf-8")
