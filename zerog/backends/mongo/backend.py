"""URLs of MongoDB deployments, which keep documents: ``mongodb://``, ``mongodb+srv://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.support.clock import Clock


def open_datastore(url: str, _clock: Clock) -> MongoDatastore:
    """Return the documents of a collection. Raises ConfigurationError."""
    return MongoDatastore(url)


BACKEND = Backend(open_datastore)
