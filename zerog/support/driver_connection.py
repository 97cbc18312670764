"""Find the connection of a database's driver below a connection of SQLAlchemy or Django, without importing either."""

from __future__ import annotations

import inspect
from typing import Any

from zerog.exceptions import ConfigurationError


def driver_connection(given: Any) -> Any:
    """Return the driver's connection below one of SQLAlchemy (or its session) or Django, any other object as it is.

    The transaction of SQLAlchemy begins if it hasn't yet, as by its first statement. Raises ConfigurationError for an
    asynchronous connection, and what SQLAlchemy or Django raise for one that is closed or whose transaction failed.
    """
    _check_synchronous(given)
    if hasattr(given, "get_bind") and hasattr(given, "connection"):  # a session of SQLAlchemy
        given = given.connection()
    if hasattr(given, "exec_driver_sql"):  # a connection of SQLAlchemy
        if not given.in_transaction():
            given.begin()  # otherwise its commit() would do nothing
        given = given.connection
    if hasattr(given, "ensure_connection"):  # Django
        given.validate_no_broken_transaction()
        given.ensure_connection()
        given = given.connection
    given = getattr(given, "driver_connection", given)  # what SQLAlchemy's pool lends
    _check_synchronous(given)
    return given


def name_of_kind(connection: Any) -> str:
    """Return the module and name of an object's class."""
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


def _check_synchronous(given: Any) -> None:
    """Raise ConfigurationError for a connection with coroutines for methods."""
    if any(inspect.iscoroutinefunction(getattr(given, name, None)) for name in ("commit", "execute")):
        raise ConfigurationError(
            f"connection= is an asynchronous {name_of_kind(given)}; expected a synchronous one. Nothing was stored."
        )
