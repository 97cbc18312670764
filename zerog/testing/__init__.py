"""Aids for testing jobs and what submits them; conformance suites for adapters in the modules beside this one."""

from zerog.testing.asserting import assert_not_submitted, assert_submitted
from zerog.testing.clock import ManualClock
from zerog.testing.inline import drain, run_inline, ways_out
from zerog.testing.isolation import isolated

__all__ = [
    "ManualClock",
    "assert_not_submitted",
    "assert_submitted",
    "drain",
    "isolated",
    "run_inline",
    "ways_out",
]
