"""One MongoDB deployment: a client per process, and errors translated to ZeroG's.

A client is made when it is first needed, and never used by a forked child. No write is sent twice, unless the URL has
``retryWrites=true``.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

from zerog.exceptions import (
    AmbiguousWrite,
    CasMismatch,
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    InvalidValue,
)
from zerog.support.extras import how_to_install
from zerog.support.urls import split, without_secrets

try:
    import bson
    import pymongo
    from bson.codec_options import DatetimeConversion
    from bson.raw_bson import RawBSONDocument
    from pymongo import errors
    from pymongo.collection import Collection
    from pymongo.uri_parser import split_options
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"mongodb:// needs pymongo, which can't be imported ({error}); {how_to_install('mongodb')}"
    ) from None

Client = pymongo.MongoClient[dict[str, Any]]

COLLECTION = "zerog_documents"
"""Collection of the documents, unless the URL has ``?collection=``."""

TIMEOUT_MS = 5_000
"""Default limit for finding a server, connecting, waiting for a free connection and each answer."""

MAX_BSON = 16 * 1024 * 1024
"""Largest document that the server takes, in bytes of BSON."""

SETTINGS: dict[str, Any] = {
    "serverSelectionTimeoutMS": TIMEOUT_MS,
    "connectTimeoutMS": TIMEOUT_MS,
    "socketTimeoutMS": TIMEOUT_MS,
    "waitQueueTimeoutMS": TIMEOUT_MS,
    "w": "majority",
    "journal": True,
    "retryWrites": False,
    "retryReads": False,
    "maxAdaptiveRetries": 0,
    "appName": "zerog",
}
"""Settings unless the URL has its own."""

PLAIN = bson.CodecOptions[dict[str, Any]](datetime_conversion=DatetimeConversion.DATETIME_MS)
"""Decoding of documents: dates as numbers, since not every date of BSON is one of Python."""

_RAW = bson.CodecOptions(
    RawBSONDocument, unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_MS
)

_SECRET_OPTIONS = ("authmechanismproperties", "tlscertificatekeyfilepassword")

_WRONG = (errors.PyMongoError, ValueError, TypeError, OSError)
"""Errors of the client for a URL that it can't use; OSError for a missing certificate."""

_NOT_ALLOWED = (13, 18, 8000)
"""Codes of refusals because of the user: Unauthorized, AuthenticationFailed, the same from Atlas."""

_TOO_LARGE = (10334, 17419, 17420)
"""Codes of refusals of a document that is or would become too large."""

_REFUSED = {
    10058: "it is not the primary",
    10107: "it is not the primary",
    13435: "it is not the primary",
    13436: "it is neither primary nor secondary",
    112: "others write to the same document",
    462: "it has too much to do",
    14031: "its disk is full",
}
"""Codes of refusals that did nothing, and their meanings."""

_INTERRUPTED = (6, 7, 50, 89, 91, 189, 262, 9001, 11600, 11601, 11602)
"""Codes of errors that interrupted an operation: shutdowns, step-downs, time limits, networks."""


class MongoServer:
    """The deployment, database and collection of a URL. Safe to share between threads and with forked children.

    Raises ConfigurationError for an invalid URL; a missing server is noticed at the first call.
    """

    is_stand_in = False
    """True if the documents are kept in this process by a stand-in for a server."""

    def __init__(self, url: str) -> None:
        self.name = without_secrets(url)
        split(url)  # refuses what the client would cut, and what its errors would show
        self._url, collection = _without_own_options(url)
        self.collection_name = COLLECTION if collection is None else collection
        self.database_name = _database(url, self.name)
        self._was_reached = False
        self._mine = _OfProcess()
        self._inherited: list[_OfProcess] = []
        try:
            self._mine.client = self._new_client()  # a wrong URL fails here, at the start
        except _WRONG as error:
            raise ConfigurationError(f"{self.name} can't be used: {_explained(self._url, error)}") from None
        self._read_settings()

    def _read_settings(self) -> None:
        try:
            concern = self.collection.write_concern.document
        except errors.InvalidName as error:
            raise ConfigurationError(f"{self.name} can't be used: {error}") from None
        self.w: int | str = concern.get("w", 1)
        self.journal = bool(concern.get("j", False))

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        """Return the collection, through this process's client."""
        client = self._client()
        database = client.get_database(
            self.database_name, codec_options=PLAIN, read_preference=pymongo.ReadPreference.PRIMARY
        )
        return database.get_collection(self.collection_name)

    def undecoded(self) -> Collection[Any]:
        """Return the collection with answers for ``decoded``, so that one broken document doesn't break a page."""
        return self.collection.with_options(codec_options=_RAW)

    def packed(self, body: RawBSONDocument) -> Any:
        """Return an encoded document in the client's form for a write."""
        return body

    def ask(self, what: str, command: str) -> dict[str, Any]:
        """Return the answer to a read-only command that any user may send. Raises the errors of ``translated``."""
        with self._translating(what, writes=False):
            return self._client().admin.command(command)

    def close(self) -> None:
        """Close this process's connections. A later call opens new ones."""
        mine = self._of_this_process()
        with mine.lock:
            client, mine.client = mine.client, None
        if client is not None:
            client.close()

    @contextmanager
    def translated(self, what: str, writes: bool = True) -> Iterator[None]:
        """Translate the client's errors to ZeroG's; ``what`` names the subject.

        After any other exception the next call makes a new client: the old one may have lost a connection of its pool.
        Raises DatastoreUnavailable (nothing was done), AmbiguousWrite (of a write: it may be done), CasMismatch (the
        key is taken), InvalidValue (too large), CorruptDocument, ConfigurationError, DatastoreError.
        """
        with self._translating(what, writes):
            yield
        self._was_reached = True

    @contextmanager
    def _translating(self, what: str, writes: bool) -> Iterator[None]:
        try:
            yield
        except errors.DuplicateKeyError:
            raise CasMismatch(f"{what} is there already; nothing was written") from None
        except (bson.errors.InvalidBSON, errors.ProtocolError) as error:
            if writes:
                raise AmbiguousWrite(f"{what}: {self.name} gave no sense ({_brief(error)}); it may be done") from None
            raise CorruptDocument(
                f"{what}: {self.name} gave no sense ({_brief(error)}); it was left as it is"
            ) from None
        except errors.DocumentTooLarge as error:
            raise InvalidValue(f"{what} is too large for {self.name} ({_brief(error)}); nothing was written") from None
        except errors.ConnectionFailure as error:
            raise self._disconnected(what, error, writes) from error
        except errors.OperationFailure as error:
            raise self._refused(what, error, writes) from None
        except errors.ConfigurationError as error:  # only the server or the DNS shows it
            raise self._misconfigured(
                f"{what}: {self.name} can't be used ({_brief(error)}); nothing was changed"
            ) from None
        except errors.PyMongoError as error:  # for example of a client that another thread has just closed
            raise DatastoreUnavailable(f"{what}: {self.name} was not asked ({_brief(error)})") from error
        except bson.errors.BSONError:
            raise
        except BaseException:  # a signal handler's, perhaps while the client took a connection from its pool
            with suppress(errors.PyMongoError):
                self.close()
            raise

    def _disconnected(self, what: str, error: errors.ConnectionFailure, writes: bool) -> Exception:
        if isinstance(error, errors.NotPrimaryError):
            details = error.details if isinstance(error.details, Mapping) else {}
            return self._by_code(what, error, details.get("code"), writes)
        if isinstance(error, errors.ServerSelectionTimeoutError):
            for cause in self._selection_errors():
                if isinstance(cause, errors.OperationFailure) and cause.code in _NOT_ALLOWED:
                    return self._refused(what, cause, writes)
            if not self._was_reached and self._has_no_such_host():
                return ConfigurationError(f"{what}: {self.name}: there is no such host ({_brief(error)})")
        if writes and _may_have_been_sent(error):
            return AmbiguousWrite(f"{what}: {self.name} did not answer ({_brief(error)}); it may be done")
        return DatastoreUnavailable(f"{what}: {self.name} can't be reached ({_brief(error)}); nothing was changed")

    def _refused(self, what: str, error: errors.OperationFailure, writes: bool) -> Exception:
        if isinstance(error, errors.WriteConcernError):
            return AmbiguousWrite(
                f"{what}: {self.name} wrote it, but not as safely as asked for ({_brief(error)}); it may be lost again"
            )
        if error.code in _NOT_ALLOWED:
            return self._misconfigured(
                f"{what}: {self.name} refuses this user, password or database ({_brief(error)}); nothing was changed"
            )
        if error.code in _TOO_LARGE:
            return InvalidValue(
                f"{what} is too large for {self.name}, which takes {MAX_BSON:,} bytes ({_brief(error)}); "
                "nothing was written"
            )
        return self._by_code(what, error, error.code, writes)

    def _by_code(self, what: str, error: Exception, code: int | None, writes: bool) -> Exception:
        if code in _REFUSED:
            return DatastoreUnavailable(f"{what}: {self.name} refuses, {_REFUSED[code]} ({_brief(error)})")
        if code in _INTERRUPTED or isinstance(error, errors.NotPrimaryError):
            if writes:
                return AmbiguousWrite(f"{what}: {self.name} was interrupted ({_brief(error)}); it may be done")
            return DatastoreUnavailable(f"{what}: {self.name} was interrupted ({_brief(error)})")
        return DatastoreError(f"{what}: {self.name} answered {_brief(error)}; nothing was changed")

    def _misconfigured(self, text: str) -> Exception:
        """Return ConfigurationError at first use; later DatastoreUnavailable, since this user was accepted before."""
        return DatastoreUnavailable(text) if self._was_reached else ConfigurationError(text)

    def _selection_errors(self) -> list[Exception | None]:
        """Return for each known server the error that keeps it from being used, according to the client."""
        return [server.error for server in self._client().topology_description.server_descriptions().values()]

    def _has_no_such_host(self) -> bool:
        """Return True if the name of every known host is unknown."""
        return all(_is_unknown(host) for host, _ in self._client().topology_description.server_descriptions())

    def _client(self) -> Client:
        mine = self._of_this_process()
        with mine.lock:
            if mine.client is None:
                mine.client = self._new_client()
            return mine.client

    def _new_client(self) -> Client:
        return _client_for(self._url)

    def _of_this_process(self) -> _OfProcess:
        mine = self._mine
        if mine.pid != os.getpid():
            self._inherited.append(mine)  # the parent's; closing or freeing it would use its connections
            mine = self._mine = _OfProcess()  # the parent's lock may have been held when it forked
        return mine


class _OfProcess:
    """The client of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.client: Client | None = None


def encoded(document: Mapping[str, Any]) -> RawBSONDocument:
    """Return a document as it is sent; ``len(….raw)`` is its size."""
    return RawBSONDocument(bson.encode(document))


def decoded(document: Any, key: str = "a document") -> dict[str, Any]:
    """Return a document of ``undecoded`` as a dict. Raises CorruptDocument."""
    if not isinstance(document, RawBSONDocument):
        return dict(document)
    try:
        return bson.decode(document.raw, PLAIN)
    except bson.errors.InvalidBSON as error:
        raise CorruptDocument(f"{key} can't be read ({_brief(error)}); it was left as it is") from None


def _without_own_options(url: str) -> tuple[str, str | None]:
    """Return the URL as the client takes it, and the collection that it names."""
    start, _, query = url.partition("?")
    options = [option for option in query.split("&") if option]
    own = [option for option in options if option.startswith("collection=")]
    others = [option for option in options if option not in own]
    return start + ("?" + "&".join(others) if others else ""), unquote(own[-1][len("collection=") :]) if own else None


def _database(url: str, name: str) -> str:
    database = unquote(url.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[2])
    if not database or "." in database or "/" in database:
        raise ConfigurationError(
            f"{name} names no database; expected one after the hosts, for example mongodb://localhost:27017/zerog"
        )
    return database


def _client_for(url: str) -> Client:
    """Return a client that has not connected yet. Raises one of _WRONG."""
    query = url.partition("?")[2]
    for option in filter(None, query.split("&")):
        _check_option(option)
    given = {name.lower(): value for name, value in split_options(query).items()} if query else {}
    if given.get("w") == 0:
        raise ValueError("with w=0 a write is not acknowledged")
    settings = {name: value for name, value in SETTINGS.items() if name.lower() not in given}
    if given.get("w", SETTINGS["w"]) == "majority" and "readconcernlevel" not in given:
        settings["readConcernLevel"] = "majority"  # else a document read back after a lost answer might be lost again
    return pymongo.MongoClient(url, connect=False, **settings)


def _check_option(option: str) -> None:
    """Raise ValueError, naming the option, if the client refuses it; the client's own error names only some of them."""
    try:
        split_options(option)
    except _WRONG as error:
        raise ValueError(f"option {option.partition('=')[0]}: {_brief(error)}") from None


def _is_unknown(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    return False


def _explained(url: str, error: Exception) -> str:
    """Return the client's text about a URL, unless it may contain user, password or another secret."""
    start, _, options = url.partition("?")
    if "@" in options or any(name in options.lower() for name in _SECRET_OPTIONS):
        return "it is no valid URL"
    if "@" in start:
        scheme, _, rest = start.partition("://")
        try:
            _client_for(f"{scheme}://{rest.rpartition('@')[2]}?{options}").close()
            return "it is no valid URL; user and password must be percent-encoded"
        except _WRONG as other:
            error = other
    return _brief(error)


def _may_have_been_sent(error: errors.ConnectionFailure) -> bool:
    """Return True if a command may have left this process before the connection failed."""
    if isinstance(error, (errors.ServerSelectionTimeoutError, errors.WaitQueueTimeoutError)):
        return False
    # While a connection was being opened: it was refused, or its pool was closed after another one's failure.
    return not isinstance(error.__cause__, (ConnectionRefusedError, socket.gaierror, errors.AutoReconnect))


def _brief(error: Exception) -> str:
    """Return an error on one line, without the client's text about itself."""
    text = str(error)
    for addition in (", Timeout: ", " (configured timeouts: ", ", full error: ", " Refer to docstring"):
        text = text.partition(addition)[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"
