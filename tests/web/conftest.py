"""The app and the client of most tests of the API."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

import zerog
from tests.web.builders import client, make_app


@pytest.fixture
def app() -> zerog.App:
    return make_app()


@pytest.fixture
def api(app: zerog.App) -> TestClient:
    return client(app)
