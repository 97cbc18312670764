"""``zerog top``: a live screen of running and waiting jobs, workers, queues and throughput."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.output import print_json
from zerog.exceptions import ZerogError
from zerog.support.texts import flat

if TYPE_CHECKING:
    from rich.console import Console

    from zerog.cli.top.snapshot import Watch

QUIT = "qQ\x1b"
"""Keys that end it, beside Ctrl-C."""


@app_command(needs_code=False)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one screen and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON and end.")
def top(app: str, interval: float, once: bool, as_json: bool) -> None:
    """Watch running jobs, what waits, the workers and the throughput.

    Runs are counted by minute, over the last 30; the last bar is the current minute. RATE and LEFT are of what was seen
    since the command began, or of the whole run. q or Ctrl-C ends it; in a pipe it prints one screen.

    \b
    Example: zerog top myapp:app
    Example: zerog top myapp:app --interval 5
    """
    from zerog.cli.top.snapshot import Watch

    watch = Watch(load_shared(app))
    if as_json:
        print_json(watch.look())
        return
    from zerog.cli.console import make_console

    console = make_console()
    if once or not console.is_terminal:
        from zerog.cli.top.screen import lines_of

        for line in lines_of(watch.look(), app, console):
            console.print(line, soft_wrap=True)
        return
    with suppress(KeyboardInterrupt), _keys() as pressed:
        _draw(watch, app, console, interval, pressed)


def _draw(watch: Watch, name: str, console: Console, interval: float, pressed: Callable[[float], str]) -> None:
    """Draw again and again until a key that ends it was pressed. An outage is shown, and waited for."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from zerog.cli.top.screen import lines_of

    shown: dict[str, Any] = watch.look()
    trouble = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            lines = lines_of(shown, name, console, console.height - 1)
            end = Text(trouble, style="red", no_wrap=True, overflow="ellipsis") if trouble else Text("q quits", "dim")
            blank = [Text()] * (console.height - 1 - len(lines))
            live.update(Group(*(_cut(line) for line in (*lines, *blank)), end), refresh=True)
            if pressed(interval) in QUIT:
                return
            try:
                shown, trouble = watch.look(), ""
            except ZerogError as error:
                trouble = flat(f"as of {shown['time'][11:19]}: {error}")


def _cut(line: Any) -> Any:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


@contextmanager
def _keys() -> Generator[Callable[[float], str]]:
    """Yield a function that waits for a key, so many seconds at most, and returns it; a blank if none was pressed."""
    import termios
    import tty

    def pressed(seconds: float) -> str:
        if not select.select([sys.stdin] if is_terminal else [], [], [], seconds)[0]:
            return " "
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") or QUIT[0]  # nothing: the terminal is gone

    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if is_terminal else None
    try:
        if is_terminal:
            tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
