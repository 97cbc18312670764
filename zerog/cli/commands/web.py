"""``zerog web``: serve the REST API."""

from __future__ import annotations

import logging
from typing import Any

import click

from zerog.cli.app_argument import VARIABLE, AppCommand, load_shared
from zerog.cli.errors import spoken


class _WebCommand(AppCommand):
    """A command whose first argument may be a URL, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments as they are: the environment stands for an argument that is missing."""
        return click.Command.parse_args(self, ctx, args)


@click.command(cls=_WebCommand)
@click.argument("source", metavar="[MODULE:APP|URL]", envvar=[VARIABLE, "ZEROG_URL"])
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Listen there.")
@click.option("--port", type=click.IntRange(0, 65535), default=8070, show_default=True, help="Listen there; 0: any.")
@click.option("--token-file", metavar="FILE", help="Bearer tokens: a line for each, read or operate, token, name.")
@click.option("--read-only", is_flag=True, help="Refuse all that changes jobs, queues or workers.")
@click.option("--prefix", default="", metavar="PATH", help="The path below which a proxy shows this server.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="A name of this server; may be repeated.")
@spoken
def web(source: str, host: str, port: int, **options: Any) -> None:
    """Serve the REST API of an app or of a datastore.

    Without --token-file it answers programs on this machine alone. With the URL of a datastore, which needs no code,
    jobs are shown, and cancelled or retried; what needs their classes is refused. Open /docs for a description.

    \b
    Example: zerog web myapp:app
    Example: zerog web sqlite:///jobs.db --port 8071 --read-only
    """
    from zerog.web.serve import serve

    is_url = "://" in source
    app = _by_url(source) if is_url else load_shared(source)
    serve(app, "MODULE:APP" if is_url else source, host=host, port=port, **options, started=_begin)


def _begin(address: str) -> None:
    """Set up logging, unless the app did, and print where the server is."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    click.echo(f"Serving {address}/docs until Ctrl-C.", err=True)


def _by_url(url: str) -> Any:
    from zerog.app import App
    from zerog.exceptions import ConfigurationError

    app = App(url)
    if not app.datastore.shared:
        raise ConfigurationError(
            "memory:// is empty in every new process. Nothing was started; name another datastore."
        )
    return app
