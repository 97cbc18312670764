"""The app as the first argument of nearly every command, or from the environment; or the URL of its datastore."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from zerog.cli.errors import spoken
from zerog.exceptions import ConfigurationError
from zerog.support.urls import without_secrets

if TYPE_CHECKING:
    from zerog.app import App

VARIABLE = "ZEROG_APP"

WITHOUT_APP = "stored"
"""An eager option with this name takes a datastore's URL, and no app is needed."""

_EXAMPLE = re.compile(r"^( *Example: )(.*)$", re.MULTILINE)
_WORD = re.compile(r'(?:--\S+ (?=[^-\s]))?(?:[^\s"]|"[^"]*")+')
"""A word of an example with what it quotes, or an option with its value."""

_names_an_app = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*").fullmatch


def is_url(text: object) -> TypeGuard[str]:
    """Return True if what stands in an app's place is a datastore's URL, which brings no job classes."""
    return isinstance(text, str) and "://" in text


class AppCommand(click.Command):
    """A command whose first argument is the app.

    The first argument is taken for the app if it looks like MODULE:APP: names joined by dots, a colon, a name; or like
    a URL. Otherwise the environment variable ZEROG_APP names the app, if it is set.
    """

    needs_code = True
    """Whether the job classes are needed, which a URL doesn't name."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the docstring, with examples that are too long broken between words."""
        own = click.HelpFormatter(width=formatter.width)
        super().format_help_text(ctx, own)
        formatter.write_paragraph()
        formatter.write(_EXAMPLE.sub(lambda example: _broken(example, formatter.width), own.getvalue()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the app of the environment in front of the arguments if they don't begin with one."""
        if ctx.resilient_parsing and args and args[-1].startswith("-"):
            args = args[:-1]  # its value is what is to be completed; without it click would read no argument at all
        first = self.make_parser(ctx).parse_args(list(args))[0].get("app")
        default = os.environ.get(VARIABLE)
        if default and not (isinstance(first, str) and (_names_an_app(first) or is_url(first))):
            args = [default, *args]
        return super().parse_args(ctx, args)


def _broken(example: re.Match[str], width: int) -> str:
    """Return an example in lines of at most ``width`` columns, as a shell reads them."""
    label, command = example.groups()
    lines = [""]
    for word in _WORD.findall(command):
        if lines[-1] and len(label) + len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return label + f"\n{' ' * len(label)}".join(lines)


class CommandGroup(click.Group):
    """A group that answers to an app in a command's place with the right order."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments begin with. Raises UsageError."""
        if args and args[0] not in self.commands and _names_an_app(args[0]) and not ctx.resilient_parsing:
            raise click.UsageError(
                f"{args[0]!r} names an app, which comes after the command: {ctx.command_path} COMMAND {args[0]}"
            )
        return super().resolve_command(ctx, args)


def app_command(name: str | None = None, needs_code: bool = True) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command that takes the app as its first parameter ``app``, as text, and reports its errors.

    Without ``needs_code`` the text may be the URL of a datastore and queue instead.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        metavar = "[MODULE:APP]" if needs_code else "[MODULE:APP|URL]"
        argument = click.argument("app", metavar=metavar, required=False, callback=_check)
        command = click.command(name, cls=AppCommand)(argument(spoken(function)))
        command.needs_code = needs_code
        return command

    return decorate


def _check(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if ctx.resilient_parsing or (value and _names_an_app(value)) or (not value and ctx.params.get(WITHOUT_APP)):
        return value
    if is_url(value):
        if isinstance(ctx.command, AppCommand) and not ctx.command.needs_code:
            return value
        raise click.UsageError(
            f"{without_secrets(value)} is a URL, and {ctx.command_path} needs the job classes; give MODULE:APP, for "
            "example myapp:app"
        )
    if os.environ.get(VARIABLE):
        raise click.UsageError(
            f"{VARIABLE} is {without_secrets(value or '')}, which names no app; expected MODULE:APP, for example "
            "myapp:app"
        )
    problem = f"{without_secrets(value)} names no app" if value else "no app was named"
    raise click.UsageError(
        f"{problem} and {VARIABLE} is not set. Give MODULE:APP first, for example {ctx.command_path} myapp:app, "
        f"or set {VARIABLE}=myapp:app."
    )


def shown(target: str) -> str:
    """Return the app's name as a command that is offered may have it: a URL without its secrets."""
    return without_secrets(target) if is_url(target) else target


def load_shared(target: str) -> App:
    """Load the app that ``MODULE:NAME`` names, or make one without classes for a URL.

    Raises ConfigurationError, also if other processes can't see its jobs.
    """
    from zerog.app import App
    from zerog.loading import load_app

    app = App(target) if is_url(target) else load_app(target)
    if not app.datastore.shared:
        raise ConfigurationError(
            f"{shown(target)} keeps its jobs in the memory of each process, where no command can see those of another "
            "one. Nothing was done. Use a datastore that processes share, for example sqlite:///jobs.db."
        )
    return app
