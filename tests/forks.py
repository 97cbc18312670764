"""Copies of this process that live, and die, separately."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable

from tests.processes import stretched


def in_a_fork(live: Callable[[], object], seconds: float = 30.0) -> int:
    """Call ``live`` in a fork of this process; return its exit code, or minus the signal that ended it.

    The exit code is 0 if ``live`` returned and 1 if it raised. One that takes longer than ``seconds`` is killed, and
    that is an error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python warns of threads that other tests have left; the copy uses nothing that they may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            live()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + stretched(seconds)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"the copy did not end within {seconds} s")
        time.sleep(0.001)  # the pace of polling
    return os.waitstatus_to_exitcode(ended[1])
