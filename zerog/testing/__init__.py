"""Conformance suites and aids for testing jobs."""
