"""Frames of the binary protocol, and the numbers in them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

HEADER = Struct(">BBHBBHIIQ")
REQUEST, REQUEST_WITH_FRAMES, RESPONSE = 0x80, 0x08, 0x81
DURABILITY_FRAME = 1
JSON_FLAGS = 0x02000000
JSON_TYPE = 1
LOCKED_CAS = 2**64 - 1
"""The token that a reader gets for a locked document."""


class Op(IntEnum):
    """Operations that are implemented."""

    GET = 0x00
    SET = 0x01
    ADD = 0x02
    REPLACE = 0x03
    DELETE = 0x04
    NOOP = 0x0A
    HELLO = 0x1F
    SASL_LIST = 0x20
    SASL_AUTH = 0x21
    SASL_STEP = 0x22
    SELECT_BUCKET = 0x89
    GET_LOCKED = 0x94
    UNLOCK = 0x95
    GET_META = 0xA0
    GET_CONFIG = 0xB5
    GET_COLLECTION = 0xBB
    LOOKUP = 0xD0
    MUTATE = 0xD1
    GET_ERROR_MAP = 0xFE


WRITES = frozenset([Op.SET, Op.ADD, Op.REPLACE, Op.DELETE, Op.MUTATE])
KEYED = frozenset([Op.GET, Op.GET_LOCKED, Op.UNLOCK, Op.GET_META, Op.LOOKUP, *WRITES])


class Status(IntEnum):
    """Statuses of answers."""

    OK = 0x00
    NOT_FOUND = 0x01
    EXISTS = 0x02
    TOO_BIG = 0x03
    INVALID = 0x04
    NO_BUCKET = 0x08
    LOCKED = 0x09
    NOT_LOCKED = 0x0E
    AUTH_ERROR = 0x20
    AUTH_CONTINUE = 0x21
    NO_ACCESS = 0x24
    UNKNOWN_COMMAND = 0x81
    NOT_SUPPORTED = 0x83
    TEMPORARY = 0x86
    UNKNOWN_COLLECTION = 0x88
    UNKNOWN_SCOPE = 0x8C
    DURABILITY_IMPOSSIBLE = 0xA1
    SYNC_WRITE_IN_PROGRESS = 0xA2
    SYNC_WRITE_AMBIGUOUS = 0xA3
    PATH_NOT_FOUND = 0xC0
    PATH_MISMATCH = 0xC1
    PATH_INVALID = 0xC2
    DOC_TOO_DEEP = 0xC4
    CANT_INSERT = 0xC5
    NOT_JSON = 0xC6
    PATH_EXISTS = 0xC9
    VALUE_TOO_DEEP = 0xCA
    INVALID_COMBINATION = 0xCB
    MULTI_FAILURE = 0xCC


class Refused(Exception):
    """A request that is answered by a status and has done nothing."""

    def __init__(self, status: Status, value: bytes = b"") -> None:
        super().__init__(status.name)
        self.status = status
        self.value = value


@dataclass
class Request:
    """One request, taken apart."""

    op: int
    key: bytes
    extras: bytes
    value: bytes
    cas: int
    opaque: int
    durability: int
    size: int


class Answer(NamedTuple):
    """The answer to a request."""

    status: Status = Status.OK
    value: bytes = b""
    extras: bytes = b""
    cas: int = 0
    datatype: int = 0


class Wire:
    """Requests in, answers out, over one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> Request:
        """Return the next request. Raises EOFError at the end of the connection."""
        magic, op, keys, extras, _, _, length, opaque, cas = HEADER.unpack(self._take(HEADER.size))
        frames = 0
        if magic == REQUEST_WITH_FRAMES:
            frames, keys = keys >> 8, keys & 0xFF
        elif magic != REQUEST:
            raise EOFError(f"magic {magic:#x}")
        body = self._take(length)
        key_at = frames + extras
        return Request(
            op,
            body[key_at : key_at + keys],
            body[frames:key_at],
            body[key_at + keys :],
            cas,
            opaque,
            _durability(body[:frames]),
            HEADER.size + length,
        )

    def write(self, request: Request, answer: Answer) -> int:
        """Answer a request; return how many bytes that took."""
        length = len(answer.extras) + len(answer.value)
        head = HEADER.pack(
            RESPONSE,
            request.op,
            0,
            len(answer.extras),
            answer.datatype,
            answer.status,
            length,
            request.opaque,
            answer.cas,
        )
        self._socket.sendall(head + answer.extras + answer.value)
        return HEADER.size + length

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            more = self._socket.recv(1 << 16)
            if not more:
                raise EOFError
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _durability(frames: bytes) -> int:
    """The durability level that the frames of a request demand; 0 for none."""
    at = 0
    while at < len(frames):
        kind, size = frames[at] >> 4, frames[at] & 0x0F
        if kind == DURABILITY_FRAME:
            return frames[at + 1]
        at += 1 + size
    return 0
