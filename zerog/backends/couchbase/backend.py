"""URLs of Couchbase clusters, which keep documents: ``couchbase://``, over TLS ``couchbases://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.support.clock import Clock


def open_datastore(url: str, _clock: Clock) -> CouchbaseDatastore:
    """Return the documents of a bucket or collection. Raises ConfigurationError."""
    return CouchbaseDatastore(url)


BACKEND = Backend(open_datastore)
