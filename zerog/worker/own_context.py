"""A context for each run: what a job sets there, context variables and decimal's precision among it, ends with it."""

from __future__ import annotations

import contextvars
import decimal
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_own_context(function: Callable[P, T]) -> Callable[P, T]:
    """Make each call of a function run in a copy of its thread's context."""

    def with_own_decimals(*args: P.args, **kwargs: P.kwargs) -> T:
        decimal.setcontext(decimal.getcontext().copy())  # a copied context shares the object that has its settings
        return function(*args, **kwargs)

    @wraps(function)
    def in_a_copy(*args: P.args, **kwargs: P.kwargs) -> T:
        return contextvars.copy_context().run(with_own_decimals, *args, **kwargs)

    return in_a_copy
