"""The doctor of an app, for tests."""

from __future__ import annotations

import zerog
from zerog.maintenance.doctor import Doctor


def doctor_of(app: zerog.App, target: str = "MODULE:APP") -> Doctor:
    """Return the doctor that ``zerog doctor`` makes."""
    return Doctor(app.engine, app.registry, app.fleet, target)
