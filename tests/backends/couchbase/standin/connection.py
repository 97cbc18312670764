"""The work of each request."""

from __future__ import annotations

import json
import socketserver
import time
from struct import iter_unpack, pack, unpack
from typing import TYPE_CHECKING

from tests.backends.couchbase.standin import subdocument
from tests.backends.couchbase.standin.documents import Bucket, Place
from tests.backends.couchbase.standin.faults import refusal
from tests.backends.couchbase.standin.login import MECHANISMS, Login
from tests.backends.couchbase.standin.protocol import (
    JSON_FLAGS,
    KEYED,
    WRITES,
    Answer,
    Op,
    Refused,
    Request,
    Status,
    Wire,
)

if TYPE_CHECKING:
    from tests.backends.couchbase.standin.server import Server

COLLECTIONS = 0x12
FEATURES = frozenset([0x03, 0x04, 0x06, 0x07, 0x08, 0x0E, 0x0F, 0x10, 0x11, COLLECTIONS, 0x14])
"""The features granted of those that a client requests in its HELLO."""

ERRORS = {
    Status.NOT_FOUND: ["item-only"],
    Status.EXISTS: ["item-only"],
    Status.TOO_BIG: ["item-only"],
    Status.LOCKED: ["item-locked", "item-only", "retry-now"],
    Status.AUTH_ERROR: ["conn-state-invalidated", "auth"],
    Status.NO_ACCESS: ["support"],
    Status.TEMPORARY: ["temp", "retry-later"],
    Status.UNKNOWN_COLLECTION: ["item-only"],
    Status.UNKNOWN_SCOPE: ["item-only"],
}
"""Statuses in the map that a client requests, with their attributes there."""

LOCK_SECONDS = 15


class Connection(socketserver.BaseRequestHandler):
    """The connection of one client."""

    server: Server

    def setup(self) -> None:
        self.wire = Wire(self.request)
        self.login = Login(self.server.users)
        self.features: set[int] = set()
        self.bucket: Bucket | None = None
        self.bucket_name = ""

    def handle(self) -> None:
        try:
            while True:
                self._serve(self.wire.read())
        except (EOFError, OSError):
            pass

    def _serve(self, request: Request) -> None:
        faults = self.server.faults
        faults.count("bytes", request.size)
        try:
            key = self._place(request)[1] if request.op in KEYED and self.bucket else b""
        except Refused:
            key = b""
        fault = faults.of(request, key)
        if fault == "dropped":
            return
        try:
            status = refusal(fault) if fault else None
            if status is not None:
                raise Refused(status)
            answer = self._answered(request)
        except Refused as refused:
            answer = Answer(refused.status, refused.value)
        if request.op in WRITES and answer.status == Status.OK:
            faults.count(f"durability.{request.durability}")
        if fault == "unanswered":
            return
        if fault == "closed":
            raise EOFError
        faults.count("bytes", self.wire.write(request, answer))
        faults.count("requests")

    def _answered(self, request: Request) -> Answer:
        if request.op in _BEFORE_LOGIN:
            return _BEFORE_LOGIN[request.op](self, request)
        if self.login.user is None:
            raise Refused(Status.NO_ACCESS)
        if request.op == Op.SELECT_BUCKET:
            return self._select(request)
        if request.op == Op.GET_CONFIG:
            return Answer(value=json.dumps(self.server.config(self.bucket_name)).encode())
        if self.bucket is None:
            raise Refused(Status.NO_BUCKET)
        if request.op not in _OF_BUCKET:
            raise Refused(Status.UNKNOWN_COMMAND)
        with self.bucket.lock:
            return _OF_BUCKET[request.op](self, request, self.bucket)

    # before a login

    def _hello(self, request: Request) -> Answer:
        wanted = [number for (number,) in iter_unpack(">H", request.value)]
        self.features = {number for number in wanted if number in FEATURES}
        return Answer(value=b"".join(pack(">H", number) for number in wanted if number in self.features))

    def _mechanisms(self, _request: Request) -> Answer:
        return Answer(value=MECHANISMS.encode())

    def _log_in(self, request: Request) -> Answer:
        step = self.login.begin if request.op == Op.SASL_AUTH else self.login.go_on
        return Answer(*step(request.key.decode(), request.value))

    def _error_map(self, _request: Request) -> Answer:
        errors = {
            f"{status:x}": {"name": status.name, "desc": status.name, "attrs": attributes}
            for status, attributes in ERRORS.items()
        }
        return Answer(value=json.dumps({"version": 2, "revision": 1, "errors": errors}).encode())

    def _nothing(self, _request: Request) -> Answer:
        return Answer()

    def _select(self, request: Request) -> Answer:
        name = request.key.decode()
        if name not in self.server.buckets:
            raise Refused(Status.NO_ACCESS)  # the real one doesn't reveal either whether there is such a bucket
        self.bucket, self.bucket_name = self.server.buckets[name], name
        return Answer()

    # documents

    def _place(self, request: Request) -> Place:
        """The collection and the key; the collection's number is first, seven bits a byte."""
        assert self.bucket is not None
        if COLLECTIONS not in self.features:
            return 0, request.key
        number = shift = size = 0
        for byte in request.key:
            number |= (byte & 0x7F) << shift
            shift += 7
            size += 1
            if not byte & 0x80:
                break
        if number not in self.bucket.numbers:
            raise Refused(Status.UNKNOWN_COLLECTION)
        return number, request.key[size:]

    def _collection(self, request: Request, bucket: Bucket) -> Answer:
        scope, _, name = request.value.decode().partition(".")
        number = bucket.collection(scope or "_default", name or "_default")
        return Answer(extras=pack(">QI", 1, number))

    def _get(self, request: Request, bucket: Bucket) -> Answer:
        document = bucket.present(self._place(request))
        return Answer(value=document.text, extras=pack(">I", document.flags), cas=document.shown_cas)

    def _lock(self, request: Request, bucket: Bucket) -> Answer:
        document = bucket.present(self._place(request))
        if document.is_locked:
            raise Refused(Status.LOCKED)
        asked = unpack(">I", request.extras)[0] if request.extras else 0
        document.locked_until = time.monotonic() + (asked or LOCK_SECONDS)
        document.cas = bucket.next_cas()
        return Answer(value=document.text, extras=pack(">I", document.flags), cas=document.cas)

    def _unlock(self, request: Request, bucket: Bucket) -> Answer:
        document = bucket.present(self._place(request))
        if not document.is_locked:
            raise Refused(Status.NOT_LOCKED)
        bucket.check(document, request.cas)
        document.locked_until = 0.0
        return Answer()

    def _meta(self, request: Request, bucket: Bucket) -> Answer:
        document = bucket.present(self._place(request))
        return Answer(extras=pack(">IIIQB", 0, document.flags, 0, 0, 1), cas=document.cas)

    def _set(self, request: Request, bucket: Bucket) -> Answer:
        place = self._place(request)
        document = bucket.documents.get(place)
        if request.op == Op.ADD and document is not None:
            raise Refused(Status.EXISTS)
        if document is None and (request.op == Op.REPLACE or request.cas):
            raise Refused(Status.NOT_FOUND)
        if document is not None:
            bucket.check(document, request.cas)
        return self._written(bucket.store(place, request.value, unpack(">II", request.extras)[0]))

    def _delete(self, request: Request, bucket: Bucket) -> Answer:
        place = self._place(request)
        bucket.check(bucket.present(place), request.cas)
        del bucket.documents[place]
        return self._written(bucket.next_cas())

    def _look_up(self, request: Request, bucket: Bucket) -> Answer:
        document = bucket.present(self._place(request))
        all_found, value = subdocument.lookup(document.text, document.meta, request.value)
        return Answer(Status.OK if all_found else Status.MULTI_FAILURE, value, cas=document.shown_cas)

    def _mutate(self, request: Request, bucket: Bucket) -> Answer:
        place = self._place(request)
        document = bucket.documents.get(place)
        may_create = bool(request.extras and request.extras[-1] & 1)
        if document is None and not may_create:
            raise Refused(Status.NOT_FOUND)
        if document is not None:
            bucket.check(document, request.cas)
        text = subdocument.mutate(document.text if document else None, request.value)
        return self._written(bucket.store(place, text, document.flags if document else JSON_FLAGS))

    def _written(self, cas: int) -> Answer:
        token = pack(">QQ", 1, cas) if 0x04 in self.features else b""
        return Answer(extras=token, cas=cas)


_BEFORE_LOGIN = {
    Op.HELLO: Connection._hello,
    Op.SASL_LIST: Connection._mechanisms,
    Op.SASL_AUTH: Connection._log_in,
    Op.SASL_STEP: Connection._log_in,
    Op.GET_ERROR_MAP: Connection._error_map,
    Op.NOOP: Connection._nothing,
}

_OF_BUCKET = {
    Op.GET_COLLECTION: Connection._collection,
    Op.GET: Connection._get,
    Op.SET: Connection._set,
    Op.ADD: Connection._set,
    Op.REPLACE: Connection._set,
    Op.DELETE: Connection._delete,
    Op.GET_LOCKED: Connection._lock,
    Op.UNLOCK: Connection._unlock,
    Op.GET_META: Connection._meta,
    Op.LOOKUP: Connection._look_up,
    Op.MUTATE: Connection._mutate,
}
