"""Aids for tests of jobs and of the code that submits them; the modules beside this one have suites for adapters."""

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
