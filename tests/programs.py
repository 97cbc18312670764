"""The preloaded process that the tests of this process share: their programs run in forks of it."""

from __future__ import annotations

from tests.preloaded import Preloaded
from tests.servers import at_exit

_python: list[Preloaded] = []


def python() -> Preloaded:
    """The process, started when it is first needed."""
    if not _python:
        _python.append(Preloaded())
        at_exit(_python[0].close)
    return _python[0]
