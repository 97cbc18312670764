"""URLs of datastores and queues in a form without secrets."""

from __future__ import annotations


def without_secrets(url: str) -> str:
    """Return a URL for logs: without user, password and options, whether or not they are encoded properly."""
    scheme, _, rest = url.partition("://")
    before, _, options = rest.partition("?")
    if before.startswith("/"):  # a path, which has no login in front of it
        return f"{scheme}://{before}"
    if "@" in options:  # a password with a question mark in it, or an option: both are possible
        return f"{scheme}://…"
    return f"{scheme}://{before.rpartition('@')[2]}"
