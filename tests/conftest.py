"""Fixtures and settings of all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# On a laptop every run explores something new; a merge must not fail for what it didn't change.
settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("repeatable")

# nohup and a shell's & make what they start ignore Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same for what nohup ignores: a worker that inherits that keeps running when its terminal is closed.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
