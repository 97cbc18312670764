"""URLs of datastores and queues as they may be shown."""

from __future__ import annotations


def without_secrets(url: str) -> str:
    """A URL as it may be logged: without user, password and options, encoded as they should be or not."""
    scheme, _, rest = url.partition("://")
    before, _, options = rest.partition("?")
    if before.startswith("/"):  # a path, which has no login in front of it
        return f"{scheme}://{before}"
    if "@" in options:  # a password with a question mark in it, or an option: nobody can tell
        return f"{scheme}://…"
    return f"{scheme}://{before.rpartition('@')[2]}"
