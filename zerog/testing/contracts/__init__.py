"""Conformance suites for adapters."""
