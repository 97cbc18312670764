"""A module that is registered as a whole."""

from __future__ import annotations

import zerog


class Some(zerog.BaseJob):
    JOB_TYPE = "some"

    def run(self) -> None: ...
