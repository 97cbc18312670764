"""Marks for parameters of tests."""

from __future__ import annotations

from typing import Any

import pytest


def wide(*parameters: object) -> list[Any]:
    """The parameters of tests that run only with ``-m wide``; a tuple has one value for each argument."""
    return [
        pytest.param(*(parameter if isinstance(parameter, tuple) else (parameter,)), marks=pytest.mark.wide)
        for parameter in parameters
    ]
