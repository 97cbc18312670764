"""How to install the optional packages, for errors that name a missing one."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, and where it has to be run."""
    return f"pip install -e '.[{extra}]' in a checkout of ZeroG, which isn't on PyPI yet"
