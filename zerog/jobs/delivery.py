"""The delivery of web hooks: a job for each URL and end, with tries of its own. ``WebHooks``: what ``App`` allows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from marshmallow import Schema, fields

from zerog import backoff
from zerog.engine.followers import VERSION, WEB_HOOK
from zerog.jobs.ending import Follower
from zerog.jobs.signals import ErrorContinue, ErrorFinish
from zerog.webhooks.targets import Targets

PAUSES = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds between two attempts, as the specification of Standard Webhooks advises: three days in all."""

GONE = 410
"""The status by which a receiver asks for no further attempt."""


class _Pauses:
    """A backoff by ``PAUSES``, up to a quarter less, so that a receiver that is back isn't met by all at once."""

    def __call__(self, error_count: int, error: BaseException | None = None) -> float:
        return backoff.constant(PAUSES[min(error_count, len(PAUSES)) - 1], jitter=True)(error_count, error)


class Delivery(Follower):
    """Sends one web hook. The URL stays in the document of the job that has ended, for it may contain a secret."""

    JOB_TYPE = WEB_HOOK
    TITLE = "Web hook"
    SCHEMA_VERSION = VERSION
    MAX_ERRORS = len(PAUSES) + 1
    BACKOFF = cast("backoff.Backoff", _Pauses())

    class State(Schema):  # no client sets these: what is sent is signed
        number = fields.Integer(load_default=0)
        message = fields.Dict(load_default=None, allow_none=True)

    number: int
    message: dict[str, Any] | None

    def run(self) -> dict[str, Any]:
        """Send it. Raises ErrorContinue for another try, ErrorFinish if there is nothing to send or no further try."""
        from zerog.webhooks.sending import NotDelivered, send

        if self.message is None or self.parent is None:
            raise ErrorFinish("this web hook has nothing to send; only the end of a job makes web hooks")
        urls = self.app.engine.read(self.parent)[0].get("notify") or []
        if not 0 <= self.number < len(urls):
            raise ErrorFinish(f"job {self.parent} has no URL number {self.number} to notify")
        body = json.dumps(self.message, separators=(",", ":")).encode()
        try:
            return {"status": send(self.app.targets, urls[self.number], self.uuid, body)}
        except NotDelivered as failure:
            if failure.status == GONE:
                raise ErrorFinish(str(failure), code=GONE) from None
            raise ErrorContinue(str(failure), code=failure.status or 500, delay=failure.delay) from None


class WebHooks:
    """The part of ``App`` that says whom web hooks may notify."""

    registry: Any
    targets = Targets()
    """The hosts that web hooks may notify."""

    def webhooks(self, hosts: Mapping[str, str | Iterable[str]], networks: Iterable[str] = ()) -> None:
        """Allow web hooks to ``hosts``: by name, the secret that signs what is sent there, or several during a change.

        A host is ``hooks.example.com``, ``*.example.com`` for all below a domain, ``hooks.example.com:8443`` for
        another port, or ``http://hooks.internal`` without encryption. Addresses that aren't public are refused,
        whatever the name, unless they are in ``networks``, such as ``10.1.0.0/16``. Replaces what an earlier call
        allowed. Call it where the app is made: programs that submit check URLs by it, and workers send. Raises
        ConfigurationError.
        """
        self.targets = Targets(hosts, networks)
        self.registry.add_classes([Delivery])
