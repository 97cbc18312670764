"""The command ``zerog``."""

from __future__ import annotations

import io
import sys
import threading

from zerog.support.extras import how_to_install
from zerog.support.texts import traceback_of


def main() -> None:
    """Run the command line; exits with the name of the missing extra if click or rich isn't installed."""
    sys.excepthook = lambda _type, error, _traceback: _print(error)
    threading.excepthook = lambda thread: _print(thread.exc_value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a stream that isn't UTF-8 shows the rest as escapes
    try:
        from zerog.cli.root import cli

        cli(prog_name="zerog")
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"zerog: the command line needs {error.name}; install it with: {how_to_install('cli')}")
    except KeyboardInterrupt:  # a cold start takes a moment
        sys.exit(130)


def _print(error: BaseException | None) -> None:
    """Print the traceback of an error that no command expects; a thread may end by SystemExit."""
    if error is not None and not isinstance(error, SystemExit):
        print(traceback_of(error), file=sys.stderr)
