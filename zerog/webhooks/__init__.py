"""Web hooks: signed requests that notify other programs of the ends of jobs, by https://www.standardwebhooks.com."""

from __future__ import annotations

from zerog.webhooks.signing import new_secret as new_secret
from zerog.webhooks.signing import verify as verify

__all__ = ["new_secret", "verify"]
