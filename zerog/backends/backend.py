"""What a package offers for the URLs of its schemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from zerog.contracts.datastore import Datastore
from zerog.contracts.queue import Queue
from zerog.engine.engine import Engine
from zerog.support.clock import Clock


class Backend(NamedTuple):
    """How its parts are opened by a URL; None for a part that it hasn't.

    Another package registers one under the entry-point group ``zerog.backends``, by the name of its scheme.
    """

    datastore: Callable[[str, Clock], Datastore] | None = None
    queue: Callable[[str, Clock], Queue] | None = None
    engine: Callable[[str, Clock], Engine] | None = None
    """For one URL that names both parts; without it the generic engine takes what the other two open."""
    join: Callable[[Any, Any, Clock], Engine | None] | None = None
    """For a datastore that was built, and a queue, or None for one beside it; None if they are not on one server."""
