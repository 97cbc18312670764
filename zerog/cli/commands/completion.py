"""``zerog completion``: shell completion of commands, options, statuses and job types."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from zerog.cli.errors import spoken

VARIABLE = "_ZEROG_COMPLETE"
"""Environment variable by which the scripts request completions; click derives it from the command's name."""


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
@spoken
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands.

    It completes commands, options and statuses, and what is in an app: job types and their parameters, uuids, queues
    and workers.

    \b
    To install it, add a line to the shell's own file:
        ~/.bashrc                   eval "$(zerog completion bash)"
        ~/.zshrc                    eval "$(zerog completion zsh)"
        ~/.config/fish/config.fish  zerog completion fish | source

    What is in an app is completed once the app is named, or ZEROG_APP is set; that imports the app.

    \b
    Example: zerog completion bash
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "zerog", VARIABLE).source())
