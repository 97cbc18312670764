"""Traces by OpenTelemetry, which the package ``opentelemetry-api`` is needed for."""

from __future__ import annotations

from zerog.tracing.spans import instrument as instrument

__all__ = ["instrument"]
