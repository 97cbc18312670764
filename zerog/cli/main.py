"""The command ``zerog``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exits with the name of the missing extra if click or rich isn't installed."""
    try:
        from zerog.cli.root import cli

        cli(prog_name="zerog")
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"zerog: the command line needs {error.name}; install it with: pip install 'zerog[cli]'")
    except KeyboardInterrupt:  # a cold start takes a moment
        sys.exit(130)
