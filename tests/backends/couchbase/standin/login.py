"""Logging in: PLAIN and SCRAM, as RFC 4616 and RFC 5802 have them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from tests.backends.couchbase.standin.protocol import Refused, Status

ITERATIONS = 4096
ALGORITHMS = {"SCRAM-SHA512": "sha512", "SCRAM-SHA256": "sha256", "SCRAM-SHA1": "sha1"}
MECHANISMS = " ".join([*ALGORITHMS, "PLAIN"])


class Login:
    """The login of one connection. ``user`` is None before it succeeded."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self.user: str | None = None
        self._name = self._first = self._challenge = ""
        self._salt = b""

    def begin(self, mechanism: str, text: bytes) -> tuple[Status, bytes]:
        """The answer to the first message."""
        if mechanism == "PLAIN":
            _, name, password = text.decode().split("\0")
            self._admit(name, self._users.get(name) == password)
            return Status.OK, b"Authenticated"
        if mechanism not in ALGORITHMS:
            raise Refused(Status.NOT_SUPPORTED)
        self._first = text.decode().split(",", 2)[2]
        fields = dict(part.split("=", 1) for part in self._first.split(","))
        self._name, self._salt = fields["n"], os.urandom(16)
        nonce = fields["r"] + base64.b64encode(os.urandom(12)).decode()
        self._challenge = f"r={nonce},s={base64.b64encode(self._salt).decode()},i={ITERATIONS}"
        return Status.AUTH_CONTINUE, self._challenge.encode()

    def go_on(self, mechanism: str, text: bytes) -> tuple[Status, bytes]:
        """The answer to the second message: whether its proof is right, and the proof that this side knows, too."""
        algorithm = ALGORITHMS[mechanism]
        without_proof, proof = text.decode().rsplit(",p=", 1)
        password = self._users.get(self._name, os.urandom(8).hex())
        salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), self._salt, ITERATIONS)
        messages = f"{self._first},{self._challenge},{without_proof}".encode()
        stored = hashlib.new(algorithm, hmac.digest(salted, b"Client Key", algorithm)).digest()
        signature = hmac.digest(stored, messages, algorithm)
        client = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        self._admit(self._name, hashlib.new(algorithm, client).digest() == stored)
        server = hmac.digest(salted, b"Server Key", algorithm)
        return Status.OK, b"v=" + base64.b64encode(hmac.digest(server, messages, algorithm))

    def _admit(self, name: str, is_right: bool) -> None:
        if not is_right:
            raise Refused(Status.AUTH_ERROR)
        self.user = name
