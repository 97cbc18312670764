"""One Couchbase cluster: its URL, a connection per process, errors translated to ZeroG's.

The cluster is opened when it is first needed, and never used by a forked child, where the SDK would wait for ever for
threads that only the parent has. The child doesn't even free what it inherited: that would wait, too. Documents are
sent and received as bytes, so that they are read as they were written.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

from zerog.backends.couchbase.url import PASSWORD_VARIABLE, PORTS, parse
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    DatastoreError,
    DatastoreUnavailable,
    DocumentLocked,
    InvalidValue,
)
from zerog.records.keys import OPEN_JOBS
from zerog.support.clock import SYSTEM
from zerog.support.extras import how_to_install

try:
    import couchbase.exceptions as sdk
    import couchbase.options as options
    import couchbase.subdocument as paths
    from couchbase.auth import PasswordAuthenticator
    from couchbase.cluster import Cluster
    from couchbase.durability import DurabilityLevel, ServerDurability
    from couchbase.n1ql import QueryScanConsistency
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"couchbase:// needs the Couchbase SDK, which can't be imported ({error}); {how_to_install('couchbase')}"
    ) from None

__all__ = ["CouchbaseServer", "brief", "options", "paths", "sdk"]  # the driver, for the modules of this adapter

QUERY_TIMEOUT = 30.0
"""Seconds that the query service has for one answer, at least."""

DURABILITY = {
    "none": None,
    "majority": DurabilityLevel.MAJORITY,
    "majority_and_persist_to_active": DurabilityLevel.MAJORITY_AND_PERSIST_TO_ACTIVE,
    "persist_to_majority": DurabilityLevel.PERSIST_TO_MAJORITY,
}
"""The values of ``?durability=``, in the SDK's terms."""

AMBIGUOUS, UNAMBIGUOUS, TOO_LARGE = 13, 14, 104
"""Numbers of the SDK's errors, whatever the error is called: a timeout with an unknown result, a timeout after which
nothing was done, a document beyond the limit."""

REFUSED = (
    sdk.UnAmbiguousTimeoutException,
    sdk.DurabilityImpossibleException,
    sdk.ServiceUnavailableException,
    sdk.RateLimitedException,
    sdk.QuotaLimitedException,
)
"""Errors after which nothing was done, and which pass."""

MISCONFIGURED = (
    sdk.AuthenticationException,
    sdk.BucketNotFoundException,
    sdk.ScopeNotFoundException,
    sdk.CollectionNotFoundException,
    sdk.DurabilityInvalidLevelException,
    sdk.UnsupportedOperation,
    sdk.FeatureUnavailableException,
)
"""Errors after which nothing was done, and which a user has to fix."""

T = TypeVar("T")

_connected: weakref.WeakSet[_OfProcess] = weakref.WeakSet()
"""The connections of this process, for its children."""


class CouchbaseServer:
    """The cluster of a URL. Safe to share between threads; a forked child opens its own connections.

    Raises ConfigurationError for an invalid URL; a missing cluster is noticed at the first call.
    """

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        self.name = self.address.name
        level = DURABILITY[self.address.durability]
        self.durable: dict[str, Any] = {} if level is None else {"durability": ServerDurability(level)}
        """The options of every write."""
        self._mine = _OfProcess()
        self._was_reached = False

    @property
    def collection(self) -> Any:
        """Return the SDK's collection, of this process. Raises ConfigurationError, DatastoreUnavailable."""
        mine = self._mine
        if mine.pid == os.getpid() and mine.collection is not None:
            return mine.collection
        return self._open().collection

    def query(self, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a SQL++ statement, which sees all previous writes. Raises the SDK's errors."""
        how = options.QueryOptions(
            named_parameters=dict(parameters),
            scan_consistency=QueryScanConsistency.REQUEST_PLUS,
            timeout=timedelta(seconds=max(self.address.timeout, QUERY_TIMEOUT)),
        )
        return list(self._open().cluster.query(statement, how))

    def reading(self, what: str, call: Callable[[Any], T]) -> T:
        """Return the result of ``call(collection)``, repeated if a closed connection cut it off: it changes nothing.

        ``what`` names the subject in an error. Raises ConfigurationError, DatastoreUnavailable, and of the SDK's errors
        those about the one document.
        """
        try:
            return self._called(what, call, writes=False)
        except sdk.RequestCanceledException:
            try:
                return self._called(what, call, writes=False)
            except sdk.RequestCanceledException as error:
                raise self._unavailable(what, error) from error

    def writing(self, what: str, call: Callable[[Any], T]) -> T:
        """Do what ``reading`` does for a call that changes something, never repeated. Also raises AmbiguousWrite."""
        return self._called(what, call, writes=True)

    def close(self) -> None:
        """Close the connections of this process. A later call opens new ones."""
        mine = self._of_this_process()
        with mine.lock:
            cluster, mine.cluster, mine.collection = mine.cluster, None, None
        if cluster is not None:
            cluster.close()

    def _called(self, what: str, call: Callable[[Any], T], writes: bool) -> T:
        collection = self.collection
        try:
            answer = call(collection)
        except sdk.CouchbaseException as error:
            translated = self.translated(what, error, writes)
            if translated is error:
                raise
            raise translated from error
        except RuntimeError as error:  # another thread has closed the connections: nothing was sent
            raise self._unavailable(what, error) from error
        return answer

    def translated(self, what: str, error: Any, writes: bool = False) -> Exception:
        """Return ZeroG's error for one of the SDK; that itself if it is about one document and names the reason."""
        code = getattr(error, "error_code", None)
        if isinstance(error, sdk.DocumentLockedException):
            return DocumentLocked(f"{what}: another client holds a lock on it on {self.name}; nothing was written")
        if code == TOO_LARGE:
            return InvalidValue(f"{what}: it is larger than {self.name} takes; nothing was written")
        if _misses_collection(error):
            return ConfigurationError(self._no_collection(what))
        if isinstance(error, REFUSED) or code == UNAMBIGUOUS:
            return self._unavailable(what, error)
        if isinstance(error, MISCONFIGURED):
            return self._misconfigured(what, error)
        if isinstance(error, sdk.InvalidArgumentException):  # a key of more than 250 bytes, for example
            return DatastoreError(f"{what}: {self.name} takes no such thing ({brief(error)}); nothing was changed")
        if isinstance(error, _OF_DOCUMENT) or (isinstance(error, sdk.RequestCanceledException) and not writes):
            return cast("Exception", error)
        if writes:
            return AmbiguousWrite(f"{what}: {self.name} did not answer ({brief(error)}); it may be done")
        if code == AMBIGUOUS or isinstance(error, sdk.TemporaryFailException):
            return self._unavailable(what, error)
        return DatastoreError(f"{what}: {self.name} answered {brief(error)}")

    def _open(self) -> _OfProcess:
        """Return this process's connections. If a thread fails to open them, waiting threads get its error."""
        mine = self._of_this_process()
        began = SYSTEM.monotonic()
        with mine.lock:
            if mine.collection is None:
                if mine.failure is not None and mine.failed_at >= began:
                    raise type(mine.failure)(str(mine.failure))
                try:
                    self._connect(mine)
                except (ConfigurationError, DatastoreUnavailable) as error:
                    mine.failure, mine.failed_at = error, SYSTEM.monotonic()
                    raise
        return mine

    def _connect(self, mine: _OfProcess) -> None:
        address = self.address
        seconds = timedelta(seconds=address.timeout)
        timeouts = options.ClusterTimeoutOptions(
            bootstrap_timeout=seconds,
            kv_timeout=seconds,
            kv_durable_timeout=max(seconds, timedelta(seconds=1.5)),  # the server's minimum
        )
        login = {"cert_path": address.ca} if address.ca else {}
        how = options.ClusterOptions(
            PasswordAuthenticator(address.user, address.password, **login),
            timeout_options=timeouts,
            transcoder=_Bytes(),
            # The SDK would log slow and late answers now and then, and at the end.
            tracing_options=options.ClusterTracingOptions(enable_tracing=False),
            metrics_options=options.ClusterMetricsOptions(enable_metrics=False),
            orphan_reporting_options=options.ClusterOrphanReportingOptions(enable_orphan_reporting=False),
            **({"network": address.network} if address.network else {}),
        )
        cluster = None
        try:
            cluster = Cluster.connect(f"{address.scheme}://{address.hosts}", how)
            bucket = cluster.bucket(address.bucket)
            collection = bucket.scope(address.scope).collection(address.collection)
            collection.exists(f"{OPEN_JOBS}0")  # an unknown collection is noticed at its first use only
        except (sdk.CouchbaseException, ValueError) as error:
            if cluster is not None:
                cluster.close()
            raise self._not_opened(error) from error
        self._was_reached = True
        mine.cluster, mine.collection = cluster, collection
        _connected.add(mine)

    def _of_this_process(self) -> _OfProcess:
        mine = self._mine
        if mine.pid != os.getpid():
            mine = self._mine = _OfProcess()  # the parent's lock may have been held when it forked
        return mine

    def _not_opened(self, error: Exception) -> Exception:
        what = "connecting"
        if _misses_collection(error):
            return ConfigurationError(self._no_collection(what))
        if isinstance(error, sdk.BucketNotFoundException):
            missing = f"there is no bucket {self.address.bucket!r} that this user may use"
            return self._misconfigured(what, error, missing)
        if isinstance(error, sdk.AuthenticationException):
            return self._misconfigured(what, error, f"user or password is wrong ({PASSWORD_VARIABLE} or the URL)")
        if not isinstance(error, sdk.CouchbaseException):
            return ConfigurationError(f"{self.name} can't be used: {brief(error)}")
        return self._unreachable(what, error)

    def _unreachable(self, what: str, error: Exception) -> Exception:
        """Return why no answer arrived: the SDK reports only a timeout, so the first host is tried once more."""
        host, separator, port = self.address.hosts.split(",")[0].rpartition(":")
        if not separator or port.endswith("]"):
            host, port = self.address.hosts.split(",")[0], PORTS[self.address.scheme]
        try:
            socket.create_connection((host.strip("[]"), int(port)), min(1.0, self.address.timeout)).close()
            why = "it listens, but does not answer as Couchbase does"
        except socket.gaierror:
            why = f"there is no host {host!r}"
            if not self._was_reached:
                return ConfigurationError(f"{what}: {self.name} can't be reached: {why}; nothing was changed")
        except OSError as problem:
            why = problem.strerror or str(problem)
        return DatastoreUnavailable(
            f"{what}: {self.name} can't be reached within {self.address.timeout:g} s: {why} ({brief(error)}); "
            "nothing was changed"
        )

    def _unavailable(self, what: str, error: Exception) -> DatastoreUnavailable:
        """Return the error for a passing failure that did nothing."""
        return DatastoreUnavailable(
            f"{what}: {self.name} can't be reached or takes nothing within {self.address.timeout:g} s "
            f"({brief(error)}); nothing was changed"
        )

    def _misconfigured(self, what: str, error: Exception, why: str = "") -> Exception:
        """Return ConfigurationError at first use; later DatastoreUnavailable, since this user was accepted before."""
        kind = DatastoreUnavailable if self._was_reached else ConfigurationError
        return kind(f"{what}: {self.name} refuses: {why or brief(error)}; nothing was changed")

    def _no_collection(self, what: str) -> str:
        wanted = f"{self.address.scope}.{self.address.collection}"
        return f"{what}: {self.name} has no collection {wanted}; create it first. Nothing was changed."


class _OfProcess:
    """The connections of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.cluster: Any = None
        self.collection: Any = None
        self.failure: Exception | None = None
        self.failed_at = 0.0


def _keep_inherited() -> None:
    """Keep the parent's connections from being freed in a forked child, even at the end of the interpreter."""
    for mine in list(_connected):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(mine))
    _connected.clear()


os.register_at_fork(after_in_child=_keep_inherited)


class _Bytes:
    """The SDK's transcoder for documents that are JSON already, and are to be checked here when they are read."""

    def encode_value(self, value: bytes) -> tuple[bytes, int]:
        return value, 0x02000000  # the common flags of all SDKs for JSON

    def decode_value(self, value: bytes, flags: int) -> bytes:
        return value


_OF_DOCUMENT = (
    sdk.DocumentNotFoundException,
    sdk.DocumentExistsException,
    sdk.CasMismatchException,
    sdk.DocumentNotJsonException,
    sdk.PathNotFoundException,
    sdk.PathMismatchException,
    sdk.PathInvalidException,
    sdk.PathTooBigException,
    sdk.PathTooDeepException,
    sdk.PathExistsException,
    sdk.ValueTooDeepException,
    sdk.InvalidValueException,
)
"""Errors that are about one document and its content; nothing was done."""


def brief(error: Exception) -> str:
    """Return an error of the SDK in one short line: its kind and number, and the reason of its retries."""
    if not isinstance(error, sdk.CouchbaseException):
        return f"{type(error).__name__}: {str(error)[:200]}"
    reasons = sorted(getattr(error.error_context, "retry_reasons", None) or ())
    parts = [f"error {error.error_code}", *reasons]
    return f"{type(error).__name__}, {', '.join(parts)}"


def _misses_collection(error: Exception) -> bool:
    if isinstance(error, (sdk.ScopeNotFoundException, sdk.CollectionNotFoundException)):
        return True
    context = getattr(error, "error_context", None)
    return "key_value_collection_outdated" in (getattr(context, "retry_reasons", None) or ())
