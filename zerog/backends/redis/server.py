"""One Redis server: connections per process, the script that does all the work, errors translated to ZeroG's.

The adapters and the engine send lists of commands; ``script`` executes all those of one call in one atomic step. A
connection is opened when it is first needed, and never used by a forked child. Nothing is ever sent twice, except a
call whose script the server doesn't know, which did nothing: it is sent once more with the script's text.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from zerog.backends.redis.script import BUSY, listed, source
from zerog.backends.redis.url import PREFIX, parse
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    ZerogError,
)
from zerog.support.clock import SYSTEM, Clock
from zerog.support.extras import how_to_install

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.connection import Connection, ConnectionPool
    from redis.retry import Retry
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"redis:// needs the redis client, which can't be imported ({error}); {how_to_install('redis')}"
    ) from None

from zerog.backends.redis.client import address_of  # after redis, whose absence names the extra

log = logging.getLogger("zerog")

BLOCK = 5.0
"""Seconds of one blocking pop on the server; a longer wait is several of them."""

CHECKED_EVERY = 60.0
"""Seconds for which the server's clock is computed from its last answer with a time."""

READ = 256 * 1024
"""Bytes of an answer read at a time."""

CONNECTIONS = 2**31
"""No limit to the connections of a process: it opens one for each thread that waits for an answer at the same time. The
client's own limit would refuse calls at once while the server is slow for a moment."""

BROKEN = (b"-1", b"?")
"""In place of an answer: the stored value is invalid, and was left as it is."""

_BUSY_CODE = re.compile(rf"\b({'|'.join(BUSY)})\b")


class RedisServer:
    """The server of a URL or of ``client``, the caller's own. Safe to share between threads and with forked children.

    ``clock``: source of delays and of ``now`` if it stands for servers; otherwise the server's own clock is. Raises
    ConfigurationError for an invalid URL; a missing server is noticed at the first call. ``prefix``: that of the keys,
    for a client; a URL has its own.
    """

    def __init__(
        self, url: str | None = None, clock: Clock = SYSTEM, *, client: Any = None, prefix: str = PREFIX
    ) -> None:
        if (url is None) == (client is None):
            raise ConfigurationError("a Redis server needs either a URL or client=…, and not both")
        address = address_of(client, prefix) if url is None else parse(url)
        self.name, self.timeout = address.name, address.timeout
        self._address = address
        self.prefix = f"{{{address.prefix}}}:"
        self.clock = clock
        self._clients: dict[float, redis.Redis] = {}
        self._mine = _OfProcess()
        self._ahead: float | None = None
        self._checked_at = 0.0
        self._was_reached = False
        self._is_checked = False
        self._source = source()
        self._sha = hashlib.sha1(self._source, usedforsecurity=False).hexdigest().encode()
        self._new_pool(self.timeout)  # a wrong URL fails here, at the start

    def call(self, commands: Sequence[dict[str, Any] | str], what: str, writes: bool = True) -> list[Any]:
        """Execute the commands, some of which may be JSON texts already, in one atomic step.

        Returns an answer for each, BROKEN for one that met a key with an invalid value.

        ``what`` names the subject in an error. Raises DatastoreUnavailable (nothing was done), AmbiguousWrite (the
        answer was lost), ConfigurationError.
        """
        now = b"%d" % int(self.clock.now().timestamp() * 1_000_000) if self.clock.stands_for_servers else b""
        arguments = (b"1", self.prefix, now, listed(commands))
        sent = self.clock.monotonic()
        try:
            answers: list[Any] = self._send(what, writes, b"EVALSHA", self._sha, *arguments)
        except redis.exceptions.NoScriptError:
            answers = self._send(what, writes, b"EVAL", self._source, *arguments)
        self._note_time(int(answers.pop()) / 1_000_000, sent)
        if not self._is_checked:
            self._check_once()
        for number, answer in enumerate(answers):
            if isinstance(answer, redis.exceptions.RedisError):
                error = self._translated(what, answer)
                if not isinstance(error, CorruptDocument):
                    raise error
                answers[number] = BROKEN
        return answers

    def one(self, command: dict[str, Any], what: str, writes: bool = True) -> Any:
        """Return the answer to one command. Also raises CorruptDocument."""
        answer = self.call((command,), what, writes)[0]
        if answer is BROKEN:
            raise CorruptDocument(
                f"{what}: {self.name} holds something there that makes no sense; it was left as it is"
            )
        return answer

    def now(self) -> datetime:
        """Return the server's clock, by its last answer with a time; ask the server only if that is old."""
        if self.clock.stands_for_servers:
            return self.clock.now()
        sent = self.clock.monotonic()
        if self._ahead is None or sent - self._checked_at > CHECKED_EVERY:
            seconds, microseconds = self.ask("the time", b"TIME")
            self._note_time(int(seconds) + int(microseconds) / 1_000_000, sent)
        return datetime.fromtimestamp(self.clock.monotonic() + (self._ahead or 0.0), UTC)

    def _note_time(self, seconds: float, sent: float) -> None:
        """Note the server's time at some moment since ``sent``.

        Its lead over this process's monotonic clock is known as exactly as the answer was quick; the known value stays
        unless the answer contradicts it, as after a step of the server's clock.
        """
        received = self.clock.monotonic()
        least, most = seconds - received, seconds - sent
        self._ahead = (least + most) / 2 if self._ahead is None else min(max(self._ahead, least), most)
        self._checked_at = received

    def _check_once(self) -> None:
        """Warn if the server may evict jobs; if its settings can't be read, assume that it doesn't."""
        self._is_checked = True
        try:
            answer = self.ask("checking the settings", b"CONFIG", b"GET", b"maxmemory-policy")
        except ZerogError:
            return
        if len(answer) == 2 and answer[1] != b"noeviction":
            log.warning(
                "%s has maxmemory-policy %s, which throws jobs away when memory is full; set it to noeviction",
                self.name,
                answer[1].decode(),
            )

    def ask(self, what: str, *arguments: Any) -> Any:
        """Return the answer to a read-only Redis command. Raises DatastoreUnavailable, ConfigurationError."""
        return self._send(what, False, *arguments)

    def wait(self, lists: Sequence[str], seconds: float) -> str | None:
        """Pop an element of one of these lists, waiting for it; return the list's name, or None after ``seconds``."""
        limit = max(0.002, min(seconds, BLOCK))  # Redis 6.2 waits for ever with 0.001
        keys = [f"{self.prefix}{name}" for name in lists]
        patience = BLOCK + self.timeout
        popped = self._send("waiting for work", False, b"BLPOP", *keys, f"{limit:.3f}", patience=patience)
        return None if popped is None else str(popped[0].decode().removeprefix(self.prefix))

    def wake(self, name: str) -> None:
        """End one wait for this list; the list expires if no consumer waits for it."""
        self.one({"command": "wake", "bell": name}, "waking", writes=False)

    def close(self) -> None:
        """Close every idle connection of this process. A later call opens new ones."""
        mine = self._of_this_process()
        with mine.lock:
            for pool in mine.pools.values():
                pool.disconnect(inuse_connections=False)
            mine.pools.clear()

    def client(self, patience: float | None = None) -> redis.Redis:
        """Return a standard client over this process's connections, for a library that needs one."""
        seconds = patience or self.timeout
        pool, client = self._open(seconds), self._clients.get(seconds)
        if client is None or client.connection_pool is not pool:
            client = self._clients[seconds] = redis.Redis(connection_pool=pool)
        return client

    def run(self, source: bytes, keys: Sequence[str], arguments: Sequence[str | bytes], what: str) -> Any:
        """Return the answer of another script than ZeroG's own. Raises the errors of ``call`` for a write."""
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
        try:
            return self._send(what, True, b"EVALSHA", sha, str(len(keys)), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return self._send(what, True, b"EVAL", source, str(len(keys)), *keys, *arguments)

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Translate errors of such a client into those of ``call`` for a write."""
        try:
            yield
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise self._not_allowed(what, error) from None
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
            if _code(error):
                raise self._translated(what, error) from error
            raise AmbiguousWrite(f"{what}: {self.name} did not answer ({_brief(error)}); it may be done") from error
        except redis.exceptions.RedisError as error:
            raise self._translated(what, error) from error

    def _send(self, what: str, writes: bool, *arguments: Any, patience: float | None = None) -> Any:
        pool = self._open(patience or self.timeout)
        connection = self._connection(pool, what)
        is_answered = False
        try:
            try:
                connection.send_packed_command(_packed(arguments))  # type: ignore[no-untyped-call]
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                # The command has not left this process completely, so the server can't have executed it.
                raise self._unavailable(what, error) from error
            try:
                answer = connection.read_response()
                self._was_reached = is_answered = True
                return answer
            except redis.exceptions.AuthenticationError as error:
                raise self._not_allowed(what, error) from None
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                if _code(error):
                    raise self._translated(what, error) from error
                if writes:
                    raise AmbiguousWrite(
                        f"{what}: {self.name} did not answer ({_brief(error)}); it may be done"
                    ) from error
                raise self._unavailable(what, error) from error
            except redis.exceptions.ResponseError as error:
                is_answered = True
                if isinstance(error, redis.exceptions.NoScriptError) and arguments[0] == b"EVALSHA":
                    raise
                raise self._translated(what, error) from error
            except redis.exceptions.RedisError as error:  # an answer that the client can't parse
                if not writes:
                    raise self._unavailable(what, error) from error
                raise AmbiguousWrite(f"{what}: {self.name} answered {_brief(error)}; it may be done") from error
        finally:
            if not is_answered:  # a late answer must not be read as the next call's
                connection.disconnect()  # type: ignore[no-untyped-call]
            pool.release(connection)

    def _connection(self, pool: ConnectionPool, what: str) -> Connection:
        try:
            connection = pool.get_connection()
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise self._not_allowed(what, error) from None
        except redis.exceptions.ResponseError as error:
            raise self._translated(what, error) from None
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
            if _code(error):
                raise self._translated(what, error) from error
            if not self._was_reached and isinstance(_cause(error), socket.gaierror):
                raise ConfigurationError(f"{self.name}: there is no such host ({_brief(error)})") from None
            raise self._unavailable(what, error) from error
        return connection

    def _open(self, patience: float) -> ConnectionPool:
        """Return this process's connections with that many seconds of patience for an answer."""
        mine = self._of_this_process()
        with mine.lock:
            pool = mine.pools.get(patience)
            if pool is None:
                pool = mine.pools[patience] = self._new_pool(patience)
            return pool

    def _of_this_process(self) -> _OfProcess:
        mine = self._mine
        if mine.pid != os.getpid():
            mine = self._mine = _OfProcess()  # the parent's lock may have been held when it forked
        return mine

    def _new_pool(self, timeout: float) -> ConnectionPool:
        # One call less, which a server before 7.2 doesn't know and a user may not be allowed. Over TLS its answer is
        # read with the session tickets, which the pool would take for an answer left in the connection.
        quiet: dict[str, Any] = {} if self.name.startswith("rediss:") else {"driver_info": None}
        given = self._address.options
        try:
            return (partial(ConnectionPool.from_url, self._address.client_url) if given is None else ConnectionPool)(
                **(given or {}),
                max_connections=CONNECTIONS,
                protocol=2,  # works on every server, without a handshake
                **quiet,
                socket_read_size=READ,
                socket_timeout=timeout,
                socket_connect_timeout=self.timeout,
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{self.name} can't be used: {error}") from None

    def _unavailable(self, what: str, error: Exception) -> DatastoreUnavailable:
        return DatastoreUnavailable(f"{what}: {self.name} can't be reached ({_brief(error)}); nothing was changed")

    def _not_allowed(self, what: str, error: Exception) -> Exception:
        """Return ConfigurationError at first use; later DatastoreUnavailable, since this user was accepted before."""
        text = f"{what}: {self.name} refuses this user, password or command ({_brief(error)}); nothing was changed"
        if self._was_reached:
            return DatastoreUnavailable(text)
        return ConfigurationError(text)

    def _translated(self, what: str, error: Exception) -> Exception:
        code = _code(error)
        if code:
            return DatastoreUnavailable(f"{what}: {self.name} refuses, {BUSY[code]} ({_brief(error)})")
        text = str(error)
        if any(word in text for word in ("NOAUTH", "WRONGPASS", "NOPERM", "no permissions")):
            return self._not_allowed(what, error)
        if "WRONGTYPE" in text or "script" in text:
            return CorruptDocument(f"{what}: {self.name} holds something that makes no sense ({_brief(error)})")
        return DatastoreError(f"{what}: {self.name} answered {_brief(error)}")


class _OfProcess:
    """The connections of one process, by the seconds that they wait for an answer."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.pools: dict[float, ConnectionPool] = {}


def _packed(arguments: Sequence[Any]) -> list[bytes]:
    """Return a command as one piece: each piece sent gives other threads a turn of the interpreter."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if type(argument) is bytes else str(argument).encode()
        parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return [b"".join(parts)]


def _code(error: Exception) -> str | None:
    """Return the server's code of a refusal that did nothing; its client cuts some of them off the message."""
    kinds = {
        redis.exceptions.BusyLoadingError: "LOADING",
        redis.exceptions.ReadOnlyError: "READONLY",
        redis.exceptions.OutOfMemoryError: "OOM",
        redis.exceptions.MasterDownError: "MASTERDOWN",
        redis.exceptions.ClusterDownError: "CLUSTERDOWN",
        redis.exceptions.MovedError: "MOVED",
        redis.exceptions.AskError: "ASK",
        redis.exceptions.TryAgainError: "TRYAGAIN",
    }
    for kind, code in kinds.items():
        if isinstance(error, kind):
            return code
    if not isinstance(error, redis.exceptions.ResponseError):
        return None
    found = _BUSY_CODE.search(str(error))
    return found[1] if found else None


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def server_of(server: RedisServer | str | None, clock: Clock, client: Any, prefix: str) -> RedisServer:
    """Return the server that an adapter is made of: one that is made already, a URL's, or a client's."""
    return server if isinstance(server, RedisServer) else RedisServer(server, clock, client=client, prefix=prefix)
