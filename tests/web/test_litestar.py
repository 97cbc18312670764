"""The API within Litestar."""

from __future__ import annotations

from typing import Any

import litestar

from tests.web.builders import make_app
from tests.web.test_mounted import as_client, check
from zerog.web import asgi


def test_in_litestar() -> None:
    """It cuts the path of the mount off, and puts a slash behind the rest."""
    inner = asgi(make_app(), prefix="/jobs-api")

    @litestar.asgi("/jobs-api", is_mount=True, copy_scope=True)
    async def jobs_api(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, send)

    check(as_client(litestar.Litestar([jobs_api])))
