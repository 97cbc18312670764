"""Conformance suites for adapters, and aids for testing jobs."""

from zerog.testing.inline import run_inline, ways_out

__all__ = ["run_inline", "ways_out"]
