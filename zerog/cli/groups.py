"""A group of commands that lists what it is about unless it is told to do something to it."""

from __future__ import annotations

import getpass
import socket

import click

LIST = "ls"


class ListingGroup(click.Group):
    """``zerog workers myapp:app`` is ``zerog workers ls myapp:app``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``ls`` for meant unless the first argument is a command or asks for help."""
        if not args or (args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx)):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


def somebody() -> str:
    """Who calls a command, for others to see: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
