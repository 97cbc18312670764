"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# On a laptop every run explores something new; a merge must not fail for what it didn't change.
settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
