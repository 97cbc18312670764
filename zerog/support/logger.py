"""The logger ``zerog``, which raises nothing into the code that logs, whatever its handlers raise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zerog.support.texts import traceback_of


class SteadyLogger(logging.Logger):
    """A logger whose records are lost if a handler, filter or record factory raises; the traceback goes to stderr."""

    def _log(
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        try:
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel + 1)
        except Exception as error:
            with suppress(Exception):
                print(traceback_of(error), file=sys.stderr)


def make_steady(logger: logging.Logger) -> None:
    """Keep this logger from raising, also if the program has its own logger class."""
    if not isinstance(logger, SteadyLogger):
        logger.__class__ = type("SteadyLogger", (SteadyLogger, type(logger)), {})


make_steady(logging.getLogger("zerog"))
